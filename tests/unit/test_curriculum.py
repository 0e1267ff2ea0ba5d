"""The curriculum: which recordings a training visits, and which it holds out."""

from __future__ import annotations

import pytest

from cutlayer_host.codes import LIVE_RECORDING
from cutlayer_host.errors import LabelError
from cutlayer_host.lesson import Curriculum
from cutlayer_host.settings import Visit


def test_a_curriculum_visits_each_recording_once_a_pass() -> None:
    curriculum = Curriculum(25, hold_out=6, labels=list(range(16)), seed=3)
    visits = list(curriculum.visits(16))
    assert len(visits) == 25
    for start in (0, 10):
        assert sorted(visit.recording for visit in visits[start : start + 10]) == list(range(10))
    assert visits == list(curriculum.visits(16))
    assert visits[:10] != visits[10:20]
    assert all(visit.label == visit.recording for visit in visits)
    assert [visit.recording for visit in curriculum.held_out(16)] == list(range(10, 16))
    live = list(Curriculum(3).visits(0))
    assert live == [Visit(LIVE_RECORDING)] * 3


def test_a_curriculum_that_does_not_fit_the_board() -> None:
    with pytest.raises(LabelError, match="3 labels for 16 recordings"):
        Curriculum(1, labels=[0, 1, 2]).check(16)
    with pytest.raises(LabelError, match="--hold-out 16 leaves none"):
        Curriculum(1, hold_out=16).check(16)
    Curriculum(1, hold_out=15, labels=[0] * 16).check(16)
