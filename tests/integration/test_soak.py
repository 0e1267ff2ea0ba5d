"""A short soak: real firmware, a real host process, and everything going wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cutlayer_host.cli import main
from cutlayer_host.soak import Outcome, SoakReport, compare

if TYPE_CHECKING:
    from tiny_board import TinyBoard


@pytest.mark.slow
def test_two_boards_and_a_host_survive(tiny: TinyBoard, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--bundle", str(tiny.bundle), "--microphone", str(tiny.microphone), "--boards", "2"]
    arguments += ["--seconds", "20", "--samples", "240", "--checkpoint-every", "5", "--cut-rate", "30"]
    arguments += ["--reset-rate", "30", "--kill-host-rate", "6", "--seed", "3", "--json"]
    assert main(["soak", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["survived"]
    assert report["steps"] == 2 * report["clean_steps"] >= 120
    assert report["mismatched_bytes"] == report["lost"] == report["doubled"] == report["other_steps"] == 0
    assert report["frames"]["lost"] * report["frames"]["duplicated"] * report["cuts"] * report["resets"] > 0
    assert report["host_errors"] == []


def test_without_recordings_it_says_what_to_do(tiny: TinyBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--bundle", str(tiny.bundle)]) == 1
    assert "make demo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "name", "count"),
    [
        (Outcome({1: 7, 2: 8}, 2, b"abcd", b"tail"), None, 0),
        (Outcome({1: 7}, 1, b"abcd", b"tail"), "lost", 1),
        (Outcome({1: 7, 2: 8}, 1, b"abcd", b"tail"), "lost", 1),
        (Outcome({1: 7, 2: 8}, 3, b"abcd", b"tail"), "doubled", 1),
        (Outcome({1: 7, 2: 9}, 2, b"abcd", b"tail"), "other_steps", 1),
        (Outcome({1: 7, 2: 8}, 2, b"abXdX", b"tail"), "mismatched_bytes", 2),
        (Outcome({1: 7, 2: 8}, 2, b"abcd", b"tale"), "mismatched_bytes", 2),
    ],
)
def test_whatever_differs_is_counted(outcome: Outcome, name: str | None, count: int) -> None:
    report = SoakReport()
    compare(outcome, Outcome({1: 7, 2: 8}, 2, b"abcd", b"tail"), report)
    assert report.survived == (name is None)
    if name:
        assert getattr(report, name) == count
