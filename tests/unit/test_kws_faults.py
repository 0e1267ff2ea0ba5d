"""What `cutlayer bench faults` says of its runs."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from cutlayer_host.transports.faulty import FaultRates
from cutlayer_kws.bench_faults import FaultyRun, make_figures, make_table
from cutlayer_kws.lesson import LessonResult

RATES = FaultRates(0.004, 0.006, seed=1)
CLEAN = LessonResult(
    accuracy=float("nan"),
    confusion=[],
    correct=[0.5, 1.0],
    weights_crc=[11, 12],
    weights={"weights": b"\1", "moments": b"\2"},
    tail_crc=5,
    samples=16,
    steps=2,
    seconds=4.0,
    tensorflow_seconds=1.0,
    stats={},
    wire_bytes={"up": 600, "down": 400},
    frames_sent_again={"up": 0, "down": 0},
    faults={"frames": 200, "lost": 0, "corrupted": 0},
)


def faulty(seed: int, seconds: float, **changes: Any) -> FaultyRun:
    faults = {"frames": 203, "lost": 2, "corrupted": 1}
    again = {"up": 1, "down": 2}
    bytes_more = {"up": 640, "down": 410}
    result = replace(
        CLEAN, seconds=seconds, faults=faults, frames_sent_again=again, wire_bytes=bytes_more, **changes
    )
    return FaultyRun(replace(RATES, seed=seed), result)


def test_figures_are_ratios_to_the_clean_link() -> None:
    figures = make_figures(CLEAN, [faulty(1, 5.0), faulty(2, 8.0)])
    assert (figures["loss"], figures["corruption"], figures["samples"]) == (0.004, 0.006, 16)
    assert figures["same_weights"] is True
    assert figures["goodput_ratio"] == pytest.approx((4 / 5 + 4 / 8) / 2)
    assert figures["wire_bytes_ratio"] == 1.05
    assert [run["seed"] for run in figures["faulty"]] == [1, 2]
    assert figures["faulty"][0]["faults"] == {"frames": 203, "lost": 2, "corrupted": 1}


@pytest.mark.parametrize(
    "differs",
    [
        {"weights_crc": [10, 12]},
        {"weights": {"weights": b"\1", "moments": b"\3"}},
        {"tail_crc": 6},
        {"samples": 15},
        {"correct": [0.5, 0.875]},
    ],
)
def test_any_difference_shows(differs: dict[str, Any]) -> None:
    figures = make_figures(CLEAN, [faulty(1, 5.0), faulty(2, 5.0, **differs)])
    assert figures["same_weights"] is False
    assert [run["same_weights"] for run in figures["faulty"]] == [True, False]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(make_table(figures))
    text = console.export_text()
    assert "DIFFERENT" in text
    assert "0.4% of frames lost and 0.6% corrupted" in text
