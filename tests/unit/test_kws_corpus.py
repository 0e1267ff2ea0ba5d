"""Corpora: Speech Commands' layout in, the microphone's file out."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cutlayer_kws.corpus import (
    RECORDING_SAMPLES,
    SAMPLE_RATE_HZ,
    Recording,
    import_speech_commands,
    load_corpus,
    write_corpus,
)
from cutlayer_kws.errors import DemoError

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("yes", "no")
SPEAKERS = [f"{number:08x}" for number in range(40)]


def write_wav(
    path: Path, samples: np.ndarray, *, channels: int = 1, rate_hz: int = SAMPLE_RATE_HZ, width: int = 2
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "speech_commands"
    for label, word in enumerate(WORDS):
        for number, speaker in enumerate(SPEAKERS):
            samples = np.full(RECORDING_SAMPLES, 1000 * label + number)
            write_wav(folder / word / f"{speaker}_nohash_0.wav", samples)
    write_wav(folder / "bed" / "0000_nohash_0.wav", np.zeros(10))
    return folder


def test_a_folder_becomes_a_corpus(source: Path, tmp_path: Path) -> None:
    corpus = import_speech_commands(source, tmp_path / "cache", words=WORDS)
    assert corpus.count == 2 * len(SPEAKERS)
    assert 0 < len(corpus.test) < corpus.count / 2
    train, test = corpus.speakers[: corpus.train_count], corpus.speakers[corpus.train_count :]
    assert not set(train) & set(test)
    for index in range(corpus.count):
        expected = 1000 * int(corpus.labels[index]) + SPEAKERS.index(corpus.speakers[index])
        assert (corpus.audio[index] == expected).all()
    assert corpus.microphone.stat().st_size == corpus.count * 2 * RECORDING_SAMPLES
    assert corpus.microphone.with_name(corpus.microphone.name + ".labels").read_bytes() == bytes(
        corpus.labels
    )


def test_the_testing_list_decides(source: Path, tmp_path: Path) -> None:
    (source / "testing_list.txt").write_text(f"yes/{SPEAKERS[3]}_nohash_0.wav\n")
    corpus = import_speech_commands(source, tmp_path / "cache", words=WORDS)
    # The speaker's other word is kept out of training too.
    assert corpus.speakers[corpus.train_count :] == (SPEAKERS[3], SPEAKERS[3])


def test_the_corpus_is_made_anew_when_the_folder_changes(source: Path, tmp_path: Path) -> None:
    first = import_speech_commands(source, tmp_path / "cache", words=WORDS)
    assert import_speech_commands(source, tmp_path / "cache", words=WORDS).folder == first.folder
    write_wav(source / "yes" / f"{SPEAKERS[0]}_nohash_1.wav", np.zeros(RECORDING_SAMPLES))
    assert import_speech_commands(source, tmp_path / "cache", words=WORDS).count == first.count + 1


@pytest.mark.parametrize("length", [0, 1, 9_000, 20_000])
def test_every_recording_becomes_one_second(source: Path, tmp_path: Path, length: int) -> None:
    name = source / "yes" / f"{SPEAKERS[0]}_nohash_0.wav"
    write_wav(name, np.full(length, 77))
    corpus = import_speech_commands(source, tmp_path / "cache", words=WORDS)
    index = next(
        i for i in range(corpus.count) if corpus.speakers[i] == SPEAKERS[0] and corpus.labels[i] == 0
    )
    kept = min(length, RECORDING_SAMPLES)
    assert (corpus.audio[index, :kept] == 77).all()
    assert (corpus.audio[index, kept:] == 0).all()


def test_a_missing_word_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no recordings of up, down"):
        import_speech_commands(source, tmp_path / "cache", words=(*WORDS, "up", "down"))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"channels": 2}, "2 channels"),
        ({"rate_hz": 8000}, "8000 Hz"),
        ({"width": 1}, "8 bits"),
    ],
)
def test_other_formats_are_refused(source: Path, tmp_path: Path, wrong: dict[str, int], says: str) -> None:
    write_wav(source / "yes" / f"{SPEAKERS[0]}_nohash_0.wav", np.zeros(100), **wrong)
    with pytest.raises(DemoError, match=says):
        import_speech_commands(source, tmp_path / "cache", words=WORDS)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_is_no_wav_is_named(source: Path, tmp_path: Path) -> None:
    (source / "no" / f"{SPEAKERS[0]}_nohash_0.wav").write_bytes(b"RIFFle")
    with pytest.raises(DemoError, match=f"{SPEAKERS[0]}_nohash_0.wav is not a WAV file"):
        import_speech_commands(source, tmp_path / "cache", words=WORDS)


def recordings(*speakers: str) -> list[Recording]:
    return [Recording(np.zeros(RECORDING_SAMPLES, np.int16), "yes", speaker) for speaker in speakers]


def test_a_speaker_on_both_sides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="'b' is in the training and in the test set"):
        write_corpus(tmp_path / "made", WORDS, recordings("a", "b"), recordings("b", "c"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_an_empty_set_is_refused(tmp_path: Path, sizes: tuple[int, int]) -> None:
    with pytest.raises(DemoError, match=f"{sizes[0]} recordings for training and {sizes[1]} for testing"):
        write_corpus(tmp_path / "made", WORDS, recordings(*"ab"[: sizes[0]]), recordings(*"cd"[: sizes[1]]))


def test_a_damaged_corpus_is_named(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "made", WORDS, recordings("a"), recordings("b"))
    with corpus.microphone.open("ab") as file:
        file.write(b"\0\0")
    with pytest.raises(DemoError, match="damaged"):
        load_corpus(corpus.folder)
    (corpus.folder / "corpus.json").unlink()
    with pytest.raises(DemoError, match="is not a corpus"):
        load_corpus(corpus.folder)
