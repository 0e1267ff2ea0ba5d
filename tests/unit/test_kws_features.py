"""The features' rule, and that they are kept. The board's side: tests/emulation/test_listening.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cutlayer_kws import features as module
from cutlayer_kws.corpus import RECORDING_SAMPLES, Recording, write_corpus
from cutlayer_kws.errors import DemoError
from cutlayer_kws.features import (
    INPUT_SCALE,
    INPUT_SHAPE,
    INPUT_ZERO_POINT,
    corpus_features,
    features,
    frontend_frames,
    join_frames,
    real_input,
)

if TYPE_CHECKING:
    from pathlib import Path


def sound(seed: int, level: float = 3000) -> np.ndarray:
    return (np.random.default_rng(seed).normal(0, level, RECORDING_SAMPLES)).astype(np.int16)


@given(arrays(np.uint16, (98, 40), elements=st.sampled_from([0, 1, 5, 6, 663, 679, 680, 681, 65535])))
def test_frames_are_joined_by_the_rule(frames: np.ndarray) -> None:
    joined = join_frames(frames)
    assert (joined.shape, joined.dtype) == (INPUT_SHAPE, np.int8)
    for t in (0, 17, 48):
        for c in range(40):
            u = min(255, 3 * (int(frames[2 * t, c]) + int(frames[2 * t + 1, c])) // 16)
            assert joined[t, c, 0] == u - 128


def test_a_second_gives_98_frames() -> None:
    frames = frontend_frames(sound(1))
    assert (frames.shape, frames.dtype) == ((98, 40), np.uint16)
    assert 0 < frames.max() < 700


def test_the_front_end_begins_fresh_for_every_recording() -> None:
    first = features(sound(1))
    features(sound(2, 10_000))
    assert np.array_equal(features(sound(1)), first)


def test_silence_is_the_lowest_value() -> None:
    assert (features(np.zeros(RECORDING_SAMPLES, np.int16)) == -128).all()


def test_real_input_follows_scale_and_zero_point() -> None:
    quantized = np.arange(-128, 128).astype(np.int8)
    real = real_input(quantized)
    assert real.dtype == np.float32
    assert (real[0], real[-1]) == (0.0, 255 / 128)
    assert np.array_equal(np.rint(real / INPUT_SCALE) + INPUT_ZERO_POINT, quantized)


def test_a_recording_of_another_length_is_refused() -> None:
    with pytest.raises(DemoError, match="15999"):
        frontend_frames(np.zeros(15_999, np.int16))


def test_features_of_a_corpus_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [Recording(sound(seed), "yes", str(seed)) for seed in range(5)]
    corpus = write_corpus(tmp_path / "corpus", ("yes",), made[:3], made[3:])
    first = corpus_features(corpus)
    assert np.array_equal(first, np.stack([features(recording.samples) for recording in made]))
    monkeypatch.setattr(module, "features", None)
    assert np.array_equal(corpus_features(corpus), first)
