from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cutlayer_host.cli import main

if TYPE_CHECKING:
    import pytest


def test_it_measures_both_directions_at_both_mtus(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "ble", "--values", "20", "--runs", "3", "--json"]) == 0
    goodput = json.loads(capsys.readouterr().out)["goodput"]
    assert [(one["mtu"], one["direction"]) for one in goodput] == [
        (23, "down"),
        (23, "up"),
        (247, "down"),
        (247, "up"),
    ]
    for one in goodput:
        assert (one["values"], one["runs"]) == (20, 3)
        assert one["bytes_per_second"] > 0
        assert 0 < one["fraction"] < 10
    # A longer value costs a stack in Python little more than a short one.
    assert goodput[2]["bytes_per_second"] > goodput[0]["bytes_per_second"]
    assert goodput[3]["plain_bytes_per_second"] > goodput[1]["plain_bytes_per_second"]
