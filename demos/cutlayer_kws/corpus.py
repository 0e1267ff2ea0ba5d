"""Recordings of words on disk, in the form in which a board's microphone reads them.

A corpus is one folder: ``recordings.pcm`` (s16le, 16 kHz, recordings of exactly 16,000 samples one after
another), ``recordings.pcm.labels`` (one byte a recording: the index of its word) and ``corpus.json``
(words, speakers, where the test set begins). The training set comes first, the test set after it; no
speaker is in both. The index of a recording here is the number that SAMPLE carries on the wire.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_kws.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
RECORDING_SAMPLES = 16_000
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")

RECORDINGS_FILE = "recordings.pcm"
LABELS_FILE = "recordings.pcm.labels"
CORPUS_FILE = "corpus.json"
TEST_PERCENT = 20
HELD_OUT_EVERY = 5


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording on its way into a corpus: int16 ``samples`` [16000], the word and who says it."""

    samples: NDArray[np.int16]
    word: str
    speaker: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Recordings [0, train_count) for training, [train_count, count) for testing, by other speakers."""

    folder: Path
    words: tuple[str, ...]
    labels: NDArray[np.uint8]
    speakers: tuple[str, ...]
    train_count: int

    @property
    def count(self) -> int:
        """All recordings."""
        return len(self.labels)

    @property
    def microphone(self) -> Path:
        """The file that a board's microphone reads."""
        return self.folder / RECORDINGS_FILE

    @property
    def audio(self) -> NDArray[np.int16]:
        """All recordings, int16 [count, 16000], mapped from disk."""
        return np.memmap(self.microphone, dtype="<i2", mode="r", shape=(self.count, RECORDING_SAMPLES))

    @property
    def train(self) -> NDArray[np.int64]:
        """Indices of the training set."""
        return np.arange(self.train_count)

    @property
    def test(self) -> NDArray[np.int64]:
        """Indices of the test set."""
        return np.arange(self.train_count, self.count)


def write_corpus(
    folder: Path, words: tuple[str, ...], train: Iterable[Recording], test: Iterable[Recording]
) -> Corpus:
    """Writes recordings as they come into `folder`, which appears only when it is whole.

    Raises DemoError when a set is empty or a speaker is in both.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        partial = Path(name) / "corpus"
        partial.mkdir()
        _write(partial, words, train, test)
        if not folder.exists():  # else another process was faster
            partial.rename(folder)
    return load_corpus(folder)


def _write(
    folder: Path, words: tuple[str, ...], train: Iterable[Recording], test: Iterable[Recording]
) -> None:
    labels: list[int] = []
    speakers: list[str] = []
    with (folder / RECORDINGS_FILE).open("wb") as pcm:

        def write(recordings: Iterable[Recording]) -> int:
            for recording in recordings:
                if recording.samples.shape != (RECORDING_SAMPLES,):
                    raise DemoError(
                        f"a recording of {recording.word!r} has shape {recording.samples.shape}",
                        f"every recording has {RECORDING_SAMPLES} samples",
                    )
                pcm.write(recording.samples.astype("<i2").tobytes())
                labels.append(words.index(recording.word))
                speakers.append(recording.speaker)
            return len(labels)

        train_count = write(train)
        count = write(test)
    if not 0 < train_count < count:
        raise DemoError(
            f"the corpus has {train_count} recordings for training and {count - train_count} for testing",
            "both sets need recordings of several speakers",
        )
    both = set(speakers[:train_count]) & set(speakers[train_count:])
    if both:
        raise DemoError(
            f"speaker {min(both)!r} is in the training and in the test set", "give each speaker to one set"
        )
    (folder / LABELS_FILE).write_bytes(bytes(labels))
    about = {"words": words, "train_count": train_count, "speakers": speakers}
    (folder / CORPUS_FILE).write_text(json.dumps(about), encoding="utf-8")


def load_corpus(folder: Path) -> Corpus:
    """Opens a folder that `write_corpus` made. Raises DemoError when it is damaged."""
    try:
        about = json.loads((folder / CORPUS_FILE).read_text(encoding="utf-8"))
        labels = np.frombuffer((folder / LABELS_FILE).read_bytes(), dtype=np.uint8)
        corpus = Corpus(folder, tuple(about["words"]), labels, tuple(about["speakers"]), about["train_count"])
        whole = corpus.microphone.stat().st_size == corpus.count * RECORDING_SAMPLES * 2
    except (OSError, ValueError, KeyError) as error:
        raise DemoError(f"{folder} is not a corpus: {error}", "remove the folder and try again") from error
    if not whole or len(corpus.speakers) != corpus.count:
        raise DemoError(f"{folder} is damaged: its files disagree", "remove the folder and try again")
    return corpus


def hold_out(corpus: Corpus, cache: Path) -> Corpus:
    """The training recordings alone, every fifth family of voices for testing: to choose settings by.

    A family is what differs in a number at the end (steph, steph2). Made once under `cache`.
    """
    families = sorted({_family(speaker) for speaker in corpus.speakers[: corpus.train_count]})
    held_out = set(families[::HELD_OUT_EVERY])
    folder = cache / f"{corpus.folder.name}-held-out"
    if folder.exists():
        return load_corpus(folder)

    def read(for_test: bool) -> Iterator[Recording]:
        for index in corpus.train:
            speaker = corpus.speakers[index]
            if (_family(speaker) in held_out) == for_test:
                yield Recording(corpus.audio[index], corpus.words[corpus.labels[index]], speaker)

    return write_corpus(folder, corpus.words, read(False), read(True))


def _family(speaker: str) -> str:
    return speaker.rstrip("0123456789")


def import_speech_commands(source: Path, cache: Path, *, words: tuple[str, ...] = WORDS) -> Corpus:
    """Makes a corpus of a folder in Speech Commands' layout: ``WORD/SPEAKER_nohash_N.wav``.

    A recording is for testing when ``testing_list.txt`` names it or another of its speaker; without that
    file, by a hash of its speaker (20 %). The corpus is made once under `cache`.
    Raises DemoError for a missing word, or a WAV file that is not 16 kHz mono s16.
    """
    files = {word: sorted((source / word).glob("*.wav")) for word in words}
    missing = [word for word, found in files.items() if not found]
    if missing:
        raise DemoError(
            f"{source} has no recordings of {', '.join(missing)}",
            "it must hold one folder of WAV files for each word, as Speech Commands does",
        )
    every = [(word, path) for word, paths in files.items() for path in paths]
    test_speakers = _test_speakers(source, [path for _, path in every])
    listing = "\n".join(f"{path.relative_to(source)} {path.stat().st_size}" for _, path in every)
    key = hashlib.sha256(f"{source.resolve()}\n{listing}\n{sorted(test_speakers)}".encode()).hexdigest()[:16]
    folder = cache / f"speech-commands-{key}"
    if folder.exists():
        return load_corpus(folder)

    def read(for_test: bool) -> Iterator[Recording]:
        for word, path in every:
            speaker = _speaker(path)
            if (speaker in test_speakers) == for_test:
                yield Recording(_read_wav(path), word, speaker)

    return write_corpus(folder, words, read(False), read(True))


def _speaker(path: Path) -> str:
    return path.stem.split("_nohash_")[0]


def _test_speakers(source: Path, paths: list[Path]) -> set[str]:
    listed = source / "testing_list.txt"
    if listed.exists():
        names = set(listed.read_text(encoding="utf-8").split())
        return {_speaker(path) for path in paths if path.relative_to(source).as_posix() in names}
    speakers = {_speaker(path) for path in paths}
    return {name for name in speakers if hashlib.sha256(name.encode()).digest()[0] * 100 < TEST_PERCENT * 256}


def _read_wav(path: Path) -> NDArray[np.int16]:
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            data = file.readframes(RECORDING_SAMPLES)
    except (OSError, EOFError, wave.Error) as error:
        raise DemoError(f"{path} is not a WAV file: {error}", "convert it to 16 kHz mono s16 WAV") from error
    if form != (1, 2, SAMPLE_RATE_HZ):
        raise DemoError(
            f"{path} has {form[0]} channels of {8 * form[1]} bits at {form[2]} Hz",
            "convert it to 16 kHz mono s16 WAV",
        )
    samples = np.zeros(RECORDING_SAMPLES, dtype=np.int16)
    read = np.frombuffer(data, dtype="<i2")
    samples[: len(read)] = read
    return samples
