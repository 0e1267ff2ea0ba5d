"""The energy start: when a board at which somebody speaks begins its recording, and which second that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_words import spoken_word
from word_library import CHUNK, PREROLL_CHUNKS, WINDOW_CHUNKS, WORD_CHUNKS, hear_word, onset_chunk

from cutlayer_kws.corpus import WORDS
from cutlayer_kws.speech import TEST_VARIANTS

SECOND = 16000
FULL_SCALE = 32767


def colored_noise(seed: int, count: int, slope: float) -> np.ndarray:
    """Noise of unit power whose amplitude falls with frequency ** -slope."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / SECOND), 50.0)
    noise = np.fft.irfft(spectrum * frequency**-slope, count)
    return noise / np.sqrt(np.mean(noise**2))


def scene(
    said: np.ndarray,
    before: int,
    *,
    rms: float,
    snr_db: float,
    seed: int = 0,
    slope: float = 0.25,
    offset: float = 0.0,
) -> np.ndarray:
    """A word of so much power after `before` samples, and noise all along, to int16."""
    sound = np.zeros(before + len(said) + SECOND)
    sound[before : before + len(said)] = said * rms / np.sqrt(np.mean(said**2))
    sound += colored_noise(seed, len(sound), slope) * rms * 10 ** (-snr_db / 20) + offset
    return np.clip(np.rint(sound), -32768, FULL_SCALE).astype(np.int16)


def starts(said: np.ndarray, before: int, **settings: float) -> float:
    """Seconds from the word's beginning to the onset."""
    chunk = onset_chunk(scene(said, before, **settings))
    assert chunk is not None
    return ((chunk + 1) * CHUNK - before) / SECOND


def test_silence_starts_nothing() -> None:
    assert onset_chunk(np.zeros(10 * SECOND)) is None
    rng = np.random.default_rng(1)
    assert onset_chunk(rng.integers(-1, 2, 10 * SECOND)) is None  # the last bit of a converter


def test_a_word_in_digital_silence_starts_it() -> None:
    silence = np.zeros(SECOND)
    sound = np.concatenate([silence, spoken_word("left") * 3000, silence])
    chunk = onset_chunk(sound)
    assert chunk is not None
    assert 100 <= chunk < 120


@pytest.mark.parametrize("text", WORDS)
def test_a_word_late_is_noticed_soon(text: str) -> None:
    assert 0.03 <= starts(spoken_word(text), 2 * SECOND, rms=2000, snr_db=20) < 0.22


@pytest.mark.parametrize("text", WORDS)
def test_a_word_at_once_is_noticed(text: str) -> None:
    """With no noise heard before."""
    assert starts(spoken_word(text), 0, rms=2000, snr_db=20) < 0.35


def test_full_scale_speech_clips_and_starts() -> None:
    clipped = np.clip(spoken_word("yes") * 20, -1, 1)
    assert starts(clipped, SECOND, rms=40000, snr_db=40) < 0.2


@pytest.mark.parametrize("offset", [-30000, -500, 500, 30000])
def test_a_dc_offset_changes_nothing(offset: int) -> None:
    said = spoken_word("down")
    assert starts(said, SECOND, rms=500, snr_db=20, offset=offset) == starts(said, SECOND, rms=500, snr_db=20)
    noise = colored_noise(3, 5 * SECOND, 0.25) * 100 + offset
    assert onset_chunk(np.clip(noise, -32768, FULL_SCALE)) is None


def test_extremes_do_not_overflow() -> None:
    swings = np.where(np.arange(SECOND) // 80 % 2, 32767, -32768)
    assert onset_chunk(swings) is None
    assert onset_chunk(np.concatenate([np.zeros(SECOND), swings])) is not None


def test_a_click_starts_nothing() -> None:
    rng = np.random.default_rng(2)
    sound = rng.normal(0, 50, 3 * SECOND)
    sound[SECOND : SECOND + 300] += rng.normal(0, 15000, 300)
    assert onset_chunk(sound) is None


def test_noise_that_grows_slowly_starts_nothing() -> None:
    growth = np.exp(np.linspace(np.log(20), np.log(5000), 12 * SECOND))  # 4 dB a second
    assert onset_chunk(np.random.default_rng(4).standard_normal(12 * SECOND) * growth) is None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rms=st.floats(0, 20000),
    slope=st.floats(0, 0.75),
    offset=st.floats(-5000, 5000),
)
def test_stationary_noise_never_starts_it(seed: int, rms: float, slope: float, offset: float) -> None:
    noise = colored_noise(seed, 10 * SECOND, slope) * rms + offset
    assert onset_chunk(np.clip(np.rint(noise), -32768, FULL_SCALE)) is None


@settings(max_examples=60, deadline=None)
@given(
    text=st.sampled_from(WORDS),
    variant=st.sampled_from(sorted(set(TEST_VARIANTS) - {"whisperf"})),
    seed=st.integers(0, 2**32 - 1),
    rms=st.floats(300, 8000),
    slope=st.floats(0, 0.5),
    before=st.integers(SECOND // 5, 4 * SECOND),
)
def test_speech_at_15_db_always_starts_it(
    text: str, variant: str, seed: int, rms: float, slope: float, before: int
) -> None:
    said = spoken_word(text, variant)
    after = starts(said, before, rms=rms, snr_db=15, seed=seed, slope=slope)
    assert 0 < after < len(said) / SECOND + 0.06


@pytest.mark.parametrize("lag", [0, 1, 7])
@pytest.mark.parametrize("before", [0, 5, 24, 25, 137])
def test_the_recording_is_the_second_around_the_onset(before: int, lag: int) -> None:
    """Whatever the pace at which its spectra are taken; nothing is cut that was heard."""
    sound = scene(spoken_word("stop"), before * CHUNK, rms=2000, snr_db=25)
    chunk = onset_chunk(sound)
    assert chunk is not None
    first = max(chunk + 1 - PREROLL_CHUNKS, 0)
    windows = hear_word(np.concatenate([sound, sound]), lag=lag)
    assert windows == list(range(first + WINDOW_CHUNKS - 1, first + WORD_CHUNKS))
    assert first <= before


def test_without_a_word_there_is_no_recording() -> None:
    assert hear_word(np.random.default_rng(5).normal(0, 300, 5 * SECOND)) == []


def test_a_recording_that_breaks_off_gives_what_was_heard() -> None:
    sound = scene(spoken_word("go"), SECOND, rms=2000, snr_db=25)[: SECOND + SECOND // 2]
    windows = hear_word(sound)
    end = len(sound) // CHUNK
    assert 0 < len(windows) < WORD_CHUNKS - WINDOW_CHUNKS + 1
    assert windows == list(range(end - len(windows), end))
