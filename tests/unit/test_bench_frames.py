"""`cutlayer bench frames`: every kind of damage is done, the same with the same seed, and judged."""

from __future__ import annotations

import json

import pytest

from cutlayer_host.bench_frames import DAMAGES, UNLIKELY, Accepted, corrupt, forge
from cutlayer_host.cli import main


def test_every_damage_is_done_as_often_and_none_is_accepted() -> None:
    found = corrupt(20_000, seed=1, jobs=2)
    assert list(found) == list(DAMAGES)
    assert all(one == Accepted(2_000, 0) for one in found.values())


def test_the_board_opens_nothing_that_was_forged() -> None:
    # Beside them it opens what the host sealed, or this would fail.
    assert forge(5_000, seed=1) == (5_000, 0)


@pytest.mark.parametrize(
    ("corrupted", "accepted", "likely"),
    [(10**8, 0, True), (10**8, 1, True), (10**8, 3, False), (2**32, 1, True), (2**32, 9, False)],
)
def test_more_than_a_crc_32_predicts_is_seen(corrupted: int, accepted: int, likely: bool) -> None:
    assert (Accepted(corrupted, accepted).likelihood >= UNLIKELY) == likely


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "frames", "--frames", "1000", "--forged", "100", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["corrupted"], printed["accepted"], printed["as_predicted"]) == (1000, 0, True)
    assert printed["sealed"] == {"forged": 100, "opened": 0}
    assert sum(one["corrupted"] for one in printed["damages"].values()) == 1000
