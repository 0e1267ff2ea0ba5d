"""Speech made on the spot by espeak-ng: ten words in many English voices, with noise.

A voice is one of espeak-ng's variants (a speaker); it is combined with an accent, a pitch and a speed. The
test variants are never heard in training. Every utterance has a random generator of its own, seeded by the
plan, so that the result does not depend on the order in which threads finish.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_kws.corpus import (
    RECORDING_SAMPLES,
    SAMPLE_RATE_HZ,
    WORDS,
    Corpus,
    Recording,
    load_corpus,
    write_corpus,
)
from cutlayer_kws.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

ACCENTS = (
    "en-gb",
    "en-us",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-rp",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
)

# Variants of one family (steph, steph2, ...) are on one side only. klatt and klatt6 sound as caleb does and
# are left out. The demo's network, rates and amounts were chosen with other test voices, which are among the
# training voices now; these were drawn by lot afterwards, so that what is measured with them is not what was
# chosen by.
# fmt: off
TEST_VARIANTS = (
    "Andrea", "Denis", "Gene", "Gene2", "RicishayMax", "RicishayMax2", "RicishayMax3", "UniRobot",
    "adam", "antonio", "boris", "croak", "f1", "f5", "grandpa", "m2", "robosoft", "robosoft2",
    "robosoft3", "robosoft4", "robosoft5", "robosoft6", "robosoft7", "robosoft8", "victor", "whisperf",
)
TRAIN_VARIANTS = (
    "Alex", "Alicia", "Andy", "Annie", "AnxiousAndy", "Demonic", "Diogo", "Henrique", "Hugo", "Jacky",
    "Lee", "Marco", "Mario", "Michael", "Mike", "Mr serious", "Nguyen", "Storm", "Tweaky", "anika",
    "anikaRobot", "announcer", "aunty", "belinda", "benjamin", "caleb", "david", "ed", "edward",
    "edward2", "f2", "f3", "f4", "fast", "grandma", "gustave", "iven", "iven2", "iven3", "iven4",
    "john", "kaukovalta", "klatt2", "klatt3", "klatt4", "klatt5", "linda", "m1", "m3", "m4", "m5", "m6",
    "m7", "m8", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy",
    "rob", "robert", "sandro", "shelby", "steph", "steph2", "steph3", "travis", "whisper", "zac",
)
# fmt: on

PITCHES = (25, 76)
WORDS_A_MINUTE = (120, 231)
PEAKS = (0.08, 0.8)
SIGNAL_TO_NOISE_DB = (8.0, 30.0)
SILENCE = 0.02
SYNTHESIS_THREADS = 2
SYNTHESIS_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Utterance:
    """One word as espeak-ng is to say it; `seed` is for the noise, the level and the offset."""

    word: str
    accent: str
    variant: str
    pitch: int
    words_a_minute: int
    seed: int


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """How many utterances to make; words and voices take turns."""

    train_count: int = 8000
    test_count: int = 1500
    seed: int = 1


def plan_utterances(plan: SpeechPlan) -> tuple[list[Utterance], list[Utterance]]:
    """The utterances of the training and of the test set: words and voices in turn, the rest random."""
    rng = np.random.default_rng(plan.seed)

    def draw(count: int, variants: tuple[str, ...]) -> list[Utterance]:
        return [
            Utterance(
                word=WORDS[i % len(WORDS)],
                accent=ACCENTS[rng.integers(len(ACCENTS))],
                variant=variants[i // len(WORDS) % len(variants)],
                pitch=int(rng.integers(*PITCHES)),
                words_a_minute=int(rng.integers(*WORDS_A_MINUTE)),
                seed=int(rng.integers(2**32)),
            )
            for i in range(count)
        ]

    return draw(plan.train_count, TRAIN_VARIANTS), draw(plan.test_count, TEST_VARIANTS)


def make_speech(
    plan: SpeechPlan, cache: Path, *, progress: Callable[[int, int], None] | None = None
) -> Corpus:
    """Says all utterances of `plan`, or opens the corpus made of the same plan before.

    `progress(done, total)` is called as recordings are finished. Raises DemoError without espeak-ng.
    """
    train, test = plan_utterances(plan)
    folder = cache / f"speech-{_plan_key(train, test)}"
    if folder.exists():
        return load_corpus(folder)
    total = len(train) + len(test)
    done = 0

    def speak(utterances: list[Utterance]) -> Iterator[Recording]:
        nonlocal done
        with ThreadPoolExecutor(SYNTHESIS_THREADS) as threads:
            for utterance, samples in zip(utterances, threads.map(synthesize, utterances), strict=True):
                yield Recording(samples, utterance.word, utterance.variant)
                done += 1
                if progress is not None:
                    progress(done, total)

    return write_corpus(folder, WORDS, speak(train), speak(test))


def synthesize(utterance: Utterance) -> NDArray[np.int16]:
    """Says one word into a noisy second: int16 [16000]. The same utterance gives the same samples."""
    rng = np.random.default_rng(utterance.seed)
    speech, rate_hz = _speak(utterance)
    loud = np.flatnonzero(np.abs(speech) > SILENCE * np.max(np.abs(speech), initial=1.0))
    if not len(loud):
        raise DemoError(
            f"espeak-ng says nothing for {utterance.word!r} as {utterance.accent}+{utterance.variant}",
            "check the installation of espeak-ng",
        )
    word = _resample(speech[loud[0] : loud[-1] + 1], rate_hz)[:RECORDING_SAMPLES]
    level = rng.uniform(*PEAKS) * 32767.0
    word *= level / np.max(np.abs(word))
    second = np.zeros(RECORDING_SAMPLES)
    offset = rng.integers(RECORDING_SAMPLES - len(word) + 1)
    second[offset : offset + len(word)] = word
    noise_rms = np.sqrt(np.mean(word**2)) * 10 ** (-rng.uniform(*SIGNAL_TO_NOISE_DB) / 20)
    second += noise_rms * _noise(rng)
    return np.clip(np.rint(second), -32768, 32767).astype(np.int16)


def _speak(utterance: Utterance) -> tuple[NDArray[np.float64], int]:
    command = [
        _espeak(),
        *("-v", f"{utterance.accent}+{utterance.variant}"),
        *("-p", str(utterance.pitch)),
        *("-s", str(utterance.words_a_minute)),
        "--stdout",
        utterance.word,
    ]
    try:
        said = subprocess.run(command, capture_output=True, check=True, timeout=SYNTHESIS_TIMEOUT_S)
        with wave.open(BytesIO(said.stdout), "rb") as file:
            rate_hz = file.getframerate()
            # espeak-ng writes its header before it knows the length: take all that is there.
            data = file.readframes(len(said.stdout))
    except (OSError, subprocess.SubprocessError, EOFError, wave.Error) as error:
        raise DemoError(
            f"espeak-ng failed: {' '.join(command)}: {error}", "try the command by hand"
        ) from error
    return np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.float64), rate_hz


def _espeak() -> str:
    path = shutil.which("espeak-ng")
    if path is None:
        raise DemoError(
            "espeak-ng is not installed", "apt install espeak-ng, or give --speech-commands FOLDER"
        )
    return path


def _resample(samples: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Band-limited resampling to 16 kHz: the spectrum is cut at 8 kHz (or padded up to it)."""
    count = -(-len(samples) // rate_hz) * rate_hz  # whole seconds, so that both lengths are integers
    seconds = count // rate_hz
    spectrum = np.fft.rfft(samples, count)
    bins = seconds * SAMPLE_RATE_HZ // 2 + 1
    kept = np.zeros(bins, dtype=np.complex128)
    kept[: min(bins, len(spectrum))] = spectrum[:bins]
    resampled = np.fft.irfft(kept, seconds * SAMPLE_RATE_HZ) * (SAMPLE_RATE_HZ / rate_hz)
    return np.asarray(resampled[: len(samples) * SAMPLE_RATE_HZ // rate_hz])


def _noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """A second of noise of unit power with a spectrum between white and 1/f, as rooms have."""
    spectrum = np.fft.rfft(rng.standard_normal(RECORDING_SAMPLES))
    frequency = np.maximum(np.fft.rfftfreq(RECORDING_SAMPLES, 1 / SAMPLE_RATE_HZ), 50.0)
    noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0.0, 0.5), RECORDING_SAMPLES)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def _plan_key(train: list[Utterance], test: list[Utterance]) -> str:
    version = subprocess.run([_espeak(), "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(version.split(b"Data at")[0])
    key.update(Path(__file__).read_bytes())
    key.update(repr([[astuple(utterance) for utterance in part] for part in (train, test)]).encode())
    return key.hexdigest()[:16]
