"""Speech: the same plan gives the same bytes, and no voice of the test set is heard in training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cutlayer_kws import speech
from cutlayer_kws.corpus import RECORDING_SAMPLES, WORDS
from cutlayer_kws.errors import DemoError
from cutlayer_kws.speech import (
    ACCENTS,
    TEST_VARIANTS,
    TRAIN_VARIANTS,
    SpeechPlan,
    Utterance,
    make_speech,
    plan_utterances,
    synthesize,
)

if TYPE_CHECKING:
    from pathlib import Path

YES = Utterance("yes", "en-gb", "f3", 50, 160, 7)


def test_voices_are_many_and_disjoint() -> None:
    assert len(set(ACCENTS)) >= 7
    assert len({*TRAIN_VARIANTS, *TEST_VARIANTS}) == len(TRAIN_VARIANTS) + len(TEST_VARIANTS) >= 80


def test_families_of_voices_are_on_one_side() -> None:
    def families(variants: tuple[str, ...]) -> set[str]:
        # f1 to f5, m1 to m8 are different people.
        return {variant.rstrip("0123456789") for variant in variants} - {"f", "m"}

    assert not families(TRAIN_VARIANTS) & families(TEST_VARIANTS)


def test_a_plan_varies_everything() -> None:
    train, test = plan_utterances(SpeechPlan())
    for utterances in (train, test):
        assert {utterance.accent for utterance in utterances} == set(ACCENTS)
        assert len({utterance.pitch for utterance in utterances}) > 40
        assert len({utterance.words_a_minute for utterance in utterances}) > 80
        counts = [sum(utterance.word == word for utterance in utterances) for word in WORDS]
        assert max(counts) - min(counts) <= 1
    assert {utterance.variant for utterance in train} == set(TRAIN_VARIANTS)
    assert {utterance.variant for utterance in test} == set(TEST_VARIANTS)


def test_plans_depend_on_the_seed_alone() -> None:
    assert plan_utterances(SpeechPlan(seed=3)) == plan_utterances(SpeechPlan(seed=3))
    assert plan_utterances(SpeechPlan(seed=3)) != plan_utterances(SpeechPlan(seed=4))


@pytest.mark.parametrize("variant", [TRAIN_VARIANTS[0], "Mr serious", TEST_VARIANTS[-1]])
@pytest.mark.parametrize("words_a_minute", [120, 230])
def test_an_utterance_is_one_second_of_sound(variant: str, words_a_minute: int) -> None:
    samples = synthesize(replace(YES, variant=variant, words_a_minute=words_a_minute))
    assert (samples.shape, samples.dtype) == ((RECORDING_SAMPLES,), np.int16)
    assert 0.05 * 32767 < np.abs(samples.astype(int)).max() <= 32767


def test_an_utterance_repeats_and_its_seed_moves_it() -> None:
    assert np.array_equal(synthesize(YES), synthesize(YES))
    other = synthesize(replace(YES, seed=8)).astype(float)
    here, there = np.abs(synthesize(YES).astype(float)), np.abs(other)
    smooth = np.ones(800)
    assert np.argmax(np.convolve(here, smooth)) != np.argmax(np.convolve(there, smooth))


def test_noise_is_added() -> None:
    """The quietest tenth of a second is not silent, as it is in what espeak-ng says."""
    loudness = np.square(synthesize(YES).astype(float)).reshape(10, -1).mean(axis=1)
    assert loudness.min() > 1


def test_a_corpus_is_made_once_and_always_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = SpeechPlan(train_count=12, test_count=11)
    done: list[tuple[int, int]] = []
    first = make_speech(plan, tmp_path / "a", progress=lambda *counts: done.append(counts))
    assert done == [(count, 23) for count in range(1, 24)]
    assert first.audio.shape == (23, RECORDING_SAMPLES)
    assert first.labels.tolist() == [index % 10 for index in (*range(12), *range(11))]
    assert set(first.speakers[:12]) <= set(TRAIN_VARIANTS)
    assert set(first.speakers[12:]) <= set(TEST_VARIANTS)
    again = make_speech(plan, tmp_path / "b")
    assert again.microphone.read_bytes() == first.microphone.read_bytes()

    def forbidden(_: Utterance) -> None:
        raise AssertionError("the corpus is there already")

    monkeypatch.setattr(speech, "synthesize", forbidden)
    kept = make_speech(plan, tmp_path / "a")
    assert kept.folder == first.folder
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.folder.name]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(utterance: Utterance) -> None:
        raise DemoError(f"no {utterance.word}")

    monkeypatch.setattr(speech, "synthesize", fail)
    with pytest.raises(DemoError, match="no yes"):
        make_speech(SpeechPlan(train_count=10, test_count=10), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_espeak_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="espeak-ng is not installed") as caught:
        make_speech(SpeechPlan(train_count=10, test_count=10), tmp_path / "cache")
    assert "apt install espeak-ng" in str(caught.value.hint)


def test_a_voice_that_espeak_lacks_is_an_error() -> None:
    with pytest.raises(DemoError, match="xx-nowhere"):
        synthesize(replace(YES, accent="xx-nowhere"))
