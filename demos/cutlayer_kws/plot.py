"""The demo's figures as a picture."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_kws.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cutlayer_kws.demo import DemoResult

RUNS = ("frozen", "split", "central")
LABELS = {"frozen": "head frozen", "split": "split", "central": "central"}
COLOURS = {"frozen": "#8d99ae", "split": "#d1495b", "central": "#30638e"}
GREY = "#555555"
SMOOTHED_STEPS = 100


def require_matplotlib() -> None:
    """Raises DemoError where matplotlib is not installed: best asked before the work than after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise DemoError("matplotlib is not installed", "pip install matplotlib, or use --no-plot")


def draw(result: DemoResult, report: dict[str, Any], path: Path) -> None:
    """Writes a PNG of three panels: accuracy of the three runs, learning, and bytes on the wire."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(12.5, 4.4), dpi=150, layout="constrained")
        bars, curves, wire = figure.subplots(1, 3, width_ratios=(1, 1.5, 1.1))
        _draw_accuracy(bars, report)
        _draw_learning(curves, result)
        _draw_wire(wire, report)
        figure.suptitle("Ten words learned across the cut", x=0.012, ha="left", fontsize=14, weight="bold")
        partial = path.with_name(f".{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(partial, format="png", facecolor="white")
        partial.replace(path)


def _draw_accuracy(axes: Any, report: dict[str, Any]) -> None:
    means = [100 * report["accuracy"][run] for run in RUNS]
    axes.bar(range(len(RUNS)), means, color=[COLOURS[run] for run in RUNS], width=0.65)
    for place, (run, mean) in enumerate(zip(RUNS, means, strict=True)):
        seeds = [100 * seed[run] for seed in report["details"]["by_seed"]]
        if len(seeds) > 1:
            axes.plot([place] * len(seeds), seeds, "o", color="black", markersize=3.5, alpha=0.6)
        axes.text(place, max([mean, *seeds]) + 1, f"{mean:.1f}", ha="center", va="bottom", weight="bold")
    axes.set_xticks(range(len(RUNS)), [LABELS[run] for run in RUNS])
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy, %")
    axes.set_title("Accuracy on unseen voices")


def _draw_learning(axes: Any, result: DemoResult) -> None:
    batch_size = result.settings.budget.batch_size
    for run in reversed(RUNS):
        correct = np.mean([getattr(seed, run).correct for seed in result.seeds], axis=0)
        smooth = 100 * _smoothed(correct)
        visits = (np.arange(len(smooth)) + len(correct) - len(smooth) + 1) * batch_size
        axes.plot(visits, smooth, color=COLOURS[run], linewidth=1.8, label=LABELS[run])
    axes.set_xlabel("sample visits")
    axes.set_ylabel("named rightly, %")
    axes.set_ylim(0, 100)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.legend(frameon=False, loc="lower right")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(f"While learning (mean of {SMOOTHED_STEPS} steps)")


def _draw_wire(axes: Any, report: dict[str, Any]) -> None:
    details, wire = report["details"], report["wire_bytes"]
    batch_size = details["batch_size"]
    half = details["wire_bytes_float32"] / 2
    rows = {"float32": (half, half), "cutlayer": (wire["up"], wire["down"])}
    for place, (up, down) in enumerate(rows.values()):
        up, down = up / batch_size / 1000, down / batch_size / 1000
        axes.bar(place, up, color="#edae49", width=0.6, label="up: smashed data" if place == 0 else None)
        axes.bar(
            place, down, bottom=up, color="#66a182", width=0.6, label="down: gradient" if place == 0 else None
        )
        axes.text(place, up + down + 0.8, f"{up + down:.1f} kB", ha="center", weight="bold")
    share = 1 / details["wire_share_of_float32"]
    axes.text(
        1, (wire["up"] + wire["down"]) / batch_size / 1000 + 6.5, f"1/{share:.1f}", ha="center", color=GREY
    )
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set_ylabel("kB a sample, headers and all")
    axes.legend(frameon=False, loc="upper right")
    axes.set_title("On the wire")


def _smoothed(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the latest steps."""
    width = min(SMOOTHED_STEPS, len(values))
    return np.convolve(values, np.ones(width) / width, mode="valid")
