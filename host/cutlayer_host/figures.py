"""The figures that the project has set itself, read from what the benches print: asked, measured, reached.

A bench is known here by its name and by the names in its JSON alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from cutlayer_boards.errors import CutlayerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.table import Table

    Value = float | bool


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure to reach.

    Attributes:
        name: for people.
        asked: likewise.
        bench: whose JSON has it.
        read: finds it there.
        reached: whether it is good enough.
        shown: how to print it.
    """

    name: str
    asked: str
    bench: str
    read: Callable[[Mapping[str, Any]], Value]
    reached: Callable[[Value], bool]
    shown: Callable[[Value], str]


@dataclass(frozen=True, slots=True)
class Row:
    """A figure as measured; `measured` and `reached` are None where the bench has not run to its end."""

    name: str
    asked: str
    measured: Value | None
    shown: str
    reached: bool | None
    file: str


# The one model of ../shared/baseline without convolutions.
FULLY_CONNECTED = "ad"
# Its heads that hold depthwise convolutions too.
DEEPER_HEADS = ("rnd_head1", "rnd_head2", "rnd_head3", "rnd_head4")


def _worst(models: Iterable[Mapping[str, Any]], value: str) -> float:
    return max(float(one[value]) for one in models)


def _convolutional(head: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for name, one in head["models"].items() if name != FULLY_CONNECTED]


def _pointwise_sgd(update: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = {"layer": "pointwise", "optimizer": "sgd", "master": "float32"}
    found: Mapping[str, Any] = next(row for row in update["updates"] if wanted.items() <= row.items())
    return found


def _keeping(rows: Sequence[Mapping[str, Any]], master: str) -> Mapping[str, Any]:
    """The row of Adam with these master weights."""
    return next(row for row in rows if (row["optimizer"], row["master"]) == ("adam", master))


FIGURES = (
    Figure(
        "accuracy, board updates over head frozen",
        ">= +4 points, mean of 3 seeds",
        "kws",
        lambda kws: 100 * (kws["accuracy"]["split"] - kws["accuracy"]["frozen"]),
        lambda points: points >= 4.0,
        "{:+.1f} points".format,
    ),
    Figure(
        "accuracy, against a float simulation",
        "within 1.5 points",
        "kws",
        lambda kws: 100 * (kws["accuracy"]["split"] - kws["details"]["float_simulation"]),
        lambda points: abs(points) <= 1.5,
        "{:+.1f} points".format,
    ),
    Figure(
        "RAM of the training firmware, stack included",
        "<= 128 KB",
        "kws",
        lambda kws: kws["ram_bytes"],
        lambda ram_bytes: ram_bytes <= 128 * 1024,
        lambda ram_bytes: f"{ram_bytes / 1024:.1f} KB",
    ),
    Figure(
        "the same, untrained network, Adam with float32",
        "<= 80 KB",
        "ram",
        lambda ram: _keeping(ram["firmwares"], "float32")["ram_bytes"],
        lambda ram_bytes: ram_bytes <= 80 * 1024,
        lambda ram_bytes: f"{ram_bytes:,.0f} bytes",
    ),
    Figure(
        "the same, Adam with bfloat16",
        "<= 56 KB",
        "ram",
        lambda ram: _keeping(ram["firmwares"], "bfloat16")["ram_bytes"],
        lambda ram_bytes: ram_bytes <= 56 * 1024,
        lambda ram_bytes: f"{ram_bytes:,.0f} bytes",
    ),
    Figure(
        "accuracy that bfloat16 loses against float32",
        "<= 0.5 points, mean of 3 seeds",
        "master",
        lambda master: _keeping(master["keepings"], "bfloat16")["points_lost"],
        lambda points: points <= 0.5,
        "{:.2f} points".format,
    ),
    Figure(
        "wire bytes a step, against float32 both ways",
        "<= 1/6",
        "kws",
        lambda kws: kws["details"]["wire_share_of_float32"],
        lambda share: share <= 1 / 6,
        lambda share: f"1/{1 / share:.1f}",
    ),
    Figure(
        "goodput, 921,600 baud, 8 kB tensors, up, plain or sealed",
        ">= 90 % of the line rate",
        "link",
        lambda link: min(link["up"]["fraction"], link["sealed"]["up"]["fraction"]),
        lambda fraction: fraction >= 0.9,
        "{:.1%}".format,
    ),
    Figure(
        "the same, down",
        ">= 90 % of the line rate",
        "link",
        lambda link: min(link["down"]["fraction"], link["sealed"]["down"]["fraction"]),
        lambda fraction: fraction >= 0.9,
        "{:.1%}".format,
    ),
    Figure(
        "1 % of frames lost or corrupted",
        "the same weights",
        "faults",
        lambda faults: faults["same_weights"],
        bool,
        lambda same: "the same weights" if same else "other weights",
    ),
    Figure(
        "goodput, 10 % of frames lost and 5 % corrupted",
        ">= 50 % of the clean line's",
        "link",
        lambda link: min(link["bad_line"]["kept"], link["sealed"]["bad_line"]["kept"]),
        lambda kept: kept >= 0.5,
        "{:.0%}".format,
    ),
    Figure(
        "boards trained at once by one host process",
        "64, no step lost, the same weights",
        "serve",
        lambda serve: serve["boards"] * (serve["lost"] == serve["mismatched_bytes"] == 0),
        lambda boards: boards >= 64,
        "{:.0f}".format,
    ),
    Figure(
        "sealing or opening 1 kB, Cortex-M4F",
        "<= 60 instructions a byte",
        "seal",
        lambda seal: max(seal["seal_instructions_a_byte"], seal["open_instructions_a_byte"]),
        lambda instructions: instructions <= 60,
        "{:.1f}".format,
    ),
    Figure(
        "handshake, Cortex-M4F",
        "<= 5 million instructions",
        "seal",
        lambda seal: seal["handshake_instructions"],
        lambda instructions: instructions <= 5_000_000,
        "{:,.0f}".format,
    ),
    Figure(
        "corrupted frames that are accepted",
        "no more than CRC-32 predicts; none with keys",
        "frames",
        lambda frames: frames["as_predicted"] and frames["sealed"]["opened"] == 0,
        bool,
        lambda good: "no more" if good else "more",
    ),
    Figure(
        "Bluetooth's goodput, against bumble's own",
        ">= 90 %",
        "ble",
        lambda ble: min(goodput["fraction"] for goodput in ble["goodput"]),
        lambda fraction: fraction >= 0.9,
        "{:.1%}".format,
    ),
    Figure(
        "host's time of a step beyond TensorFlow's",
        "<= 2 ms",
        "host",
        lambda host: host["host_median_ms"],
        lambda ms: ms <= 2.0,
        "{:.2f} ms".format,
    ),
    Figure(
        "flash of the core without head and C library, Cortex-M4",
        "<= 16 KB",
        "size",
        lambda size: size["core_bytes"],
        lambda flash_bytes: flash_bytes <= 16_384,
        "{:,.0f} bytes".format,
    ),
    Figure(
        "instructions, against CMSIS-NN's, convolutional models",
        "<= 0.5",
        "head",
        lambda head: _worst(_convolutional(head), "instructions_of_tflm"),
        lambda part: part <= 0.5,
        "{:.3f}".format,
    ),
    Figure(
        "instructions, against CMSIS-NN's, fully connected model",
        "<= 0.65",
        "head",
        lambda head: head["models"][FULLY_CONNECTED]["instructions_of_tflm"],
        lambda part: part <= 0.65,
        "{:.3f}".format,
    ),
    Figure(
        "instructions of the whole keyword-spotting DS-CNN",
        "<= 3.8 million",
        "head",
        lambda head: head["models"]["kws"]["instructions"],
        lambda instructions: instructions <= 3_800_000,
        "{:,.0f}".format,
    ),
    Figure(
        "arena, against TFLM's, convolutional models",
        "<= 0.65",
        "head",
        lambda head: _worst(_convolutional(head), "arena_bytes_of_tflm"),
        lambda part: part <= 0.65,
        "{:.3f}".format,
    ),
    Figure(
        "the same, rnd_head1 to 4",
        "<= 0.5",
        "head",
        lambda head: _worst((head["models"][name] for name in DEEPER_HEADS), "arena_bytes_of_tflm"),
        lambda part: part <= 0.5,
        "{:.3f}".format,
    ),
    Figure(
        "flash without weights, against TFLM's",
        "<= 0.3",
        "head",
        lambda head: _worst(head["models"].values(), "flash_bytes_without_weights_of_tflm"),
        lambda part: part <= 0.3,
        "{:.3f}".format,
    ),
    Figure(
        "kernels in plain C with long multiplications, against TFLM's reference kernels",
        "<= 0.25",
        "head",
        lambda head: _worst(
            (one["plain_c"]["long-multiply"] for one in head["models"].values()), "instructions_of_tflm"
        ),
        lambda part: part <= 0.25,
        "{:.3f}".format,
    ),
    Figure(
        "bytes that differ from TFLM's, every model and cut",
        "0, of 1,000 inputs each",
        "bytes",
        lambda found: found["inputs"] >= 1000 and found["differing"] == 0,
        bool,
        lambda none: "0" if none else "some, or of fewer inputs",
    ),
    Figure(
        "last layer's update, accumulation",
        "<= 1.5 instructions a MAC",
        "update",
        lambda update: _pointwise_sgd(update)["accumulate_instructions_a_mac"],
        lambda instructions: instructions <= 1.5,
        "{:.2f}".format,
    ),
    Figure(
        "the same, SGD with momentum and requantization",
        "<= 50 instructions a weight",
        "update",
        lambda update: _pointwise_sgd(update)["apply_instructions_a_weight"],
        lambda instructions: instructions <= 50,
        "{:.1f}".format,
    ),
)


def measured(folder: Path, benches: Mapping[str, str]) -> list[Row]:
    """The figures of the benches that have run, from the JSON files in `folder`.

    `benches` says "ok" of each, or why not.

    Raises:
        CutlayerError: a file there is not what its bench prints.
    """
    return [
        _row(figure, folder / f"{figure.bench}.json", benches[figure.bench])
        for figure in FIGURES
        if figure.bench in benches
    ]


def _row(figure: Figure, path: Path, state: str) -> Row:
    if state != "ok":
        return Row(figure.name, figure.asked, None, state, None, str(path))
    try:
        value = figure.read(json.loads(path.read_bytes()))
        return Row(figure.name, figure.asked, value, figure.shown(value), figure.reached(value), str(path))
    except (OSError, ValueError, KeyError, StopIteration, TypeError, ZeroDivisionError) as error:
        raise CutlayerError(
            f"{path}: the figure {figure.name!r} cannot be read: {error!r}",
            f"run it alone: cutlayer bench {figure.bench} --json",
        ) from error


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for summary.json."""
    return [asdict(row) for row in rows]


def make_table(rows: Sequence[Row]) -> Table:
    """The rows for people."""
    from rich.table import Table

    table = Table(title="Figures", title_justify="left")
    for column in ("what", "asked"):
        table.add_column(column)
    for column in ("measured", "", "file"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        said = {True: "[green]reached[/green]", False: "[red]missed[/red]", None: ""}[row.reached]
        table.add_row(row.name, row.asked, row.shown, said, PurePath(row.file).name)
    return table
