"""`cutlayer soak`: training while everything goes wrong, compared with training undisturbed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cutlayer_host.commands.options import json_option
from cutlayer_host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutlayer_host.soak import SoakPlan, SoakReport

BOARDS = {"native": "native", "qemu": "qemu_mps2_an386"}
SHARE = click.FloatRange(0, 0.9)
A_MINUTE = click.FloatRange(0, 600)
F = TypeVar("F", bound="Callable[..., Any]")


def trained_options(command: F) -> F:
    """Adds --bundle and --microphone: what boards of our own train on, by default the demo's."""
    bundle = click.option(
        "--bundle",
        default=Path("build/demo/seed0/bundle"),
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="What to train.",
    )
    microphone = click.option(
        "--microphone",
        type=click.Path(dir_okay=False, path_type=Path),
        help="What the boards hear; by default the demo's recordings.",
    )
    return bundle(microphone(command))


@click.command()
@click.option("--seconds", default=60.0, show_default=True, metavar="S", help="How long things go wrong.")
@click.option(
    "--loss", default=0.02, show_default=True, type=SHARE, metavar="P", help="Frames that are lost."
)
@click.option(
    "--corrupt", default=0.02, show_default=True, type=SHARE, metavar="P", help="Frames with a bit flipped."
)
@click.option(
    "--duplicate", default=0.02, show_default=True, type=SHARE, metavar="P", help="Frames that come twice."
)
@click.option(
    "--reorder",
    default=0.02,
    show_default=True,
    type=SHARE,
    metavar="P",
    help="Frames overtaken by the next.",
)
@click.option(
    "--cut-rate", default=10.0, show_default=True, type=A_MINUTE, metavar="R", help="Links cut a minute."
)
@click.option(
    "--reset-rate",
    default=10.0,
    show_default=True,
    type=A_MINUTE,
    metavar="R",
    help="Boards that lose power a minute.",
)
@click.option(
    "--kill-host-rate",
    default=2.0,
    show_default=True,
    type=A_MINUTE,
    metavar="R",
    help="How often the host is killed (kill -9) a minute.",
)
@click.option(
    "--boards", default=1, show_default=True, type=click.IntRange(1, 256), metavar="N", help="At once."
)
@click.option(
    "--emulator",
    default="native",
    show_default=True,
    type=click.Choice(list(BOARDS)),
    help="Where the boards run.",
)
@click.option("--samples", default=2000, show_default=True, metavar="N", help="Of a round, for each board.")
@click.option("--batch-size", default=4, show_default=True, metavar="N", help="Samples a step.")
@click.option("--checkpoint-every", default=20, show_default=True, metavar="N", help="Steps.")
@click.option(
    "--optimizer",
    default="adam",
    show_default=True,
    type=click.Choice(["adam", "sgd"]),
    help="Of the tail and of the boards' layers.",
)
@click.option("--seed", default=0, show_default=True, help="Of what goes wrong.")
@trained_options
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the stores and storages stay; by default they go.",
)
@json_option
def soak(bundle: Path, microphone: Path | None, keep: Path | None, as_json: bool, **options: Any) -> None:
    """Train while everything goes wrong, and compare.

    The real firmware, and a real host process. Each round trains undisturbed too; in the end both have to be
    the same, bit for bit: otherwise the exit code is 1.
    """
    import tempfile

    from cutlayer_boards.console import print_json

    microphone = microphone or demo_recordings(bundle)
    with tempfile.TemporaryDirectory(prefix="cutlayer-soak-") as name:
        report = asyncio.run(_soak(bundle, microphone, keep or Path(name), options))
    result = {"asked": options, **report.as_json()}
    if as_json:
        print_json(result)
    else:
        _print(report)
    if not report.survived:
        raise HostError(
            f"{report.lost} steps lost, {report.doubled} doubled, {report.other_steps} other, "
            f"{report.mismatched_bytes} bytes differ",
            "the same --seed and --keep FOLDER show what happened",
        )


async def _soak(bundle: Path, microphone: Path, folder: Path, options: dict[str, Any]) -> SoakReport:
    from cutlayer_boards.console import console
    from cutlayer_host.soak import soak as run

    plan = await asyncio.to_thread(soak_plan, bundle, microphone, folder, options)
    with console().status("soaking") as status:
        return await run(plan, lambda line: status.update(line))


def soak_plan(bundle: Path, microphone: Path, folder: Path, options: dict[str, Any]) -> SoakPlan:
    """The plan with the firmware built. What `options` leave out does not go wrong."""
    from cutlayer_boards.build import build_firmware
    from cutlayer_boards.spec import board
    from cutlayer_host.soak import SoakPlan
    from cutlayer_host.transports.faulty import FaultRates

    spec = board(BOARDS[options["emulator"]])
    rates = {field: options[name] for name, field in _FRAMES.items() if name in options}
    more = {field: options[name] for name, field in _MORE.items() if name in options}
    return SoakPlan(
        spec=spec,
        firmware=build_firmware(spec, bundle),
        bundle=bundle,
        microphone=microphone,
        folder=folder,
        rates=FaultRates(**rates),
        **more,
    )


_FRAMES = {
    "loss": "loss",
    "corrupt": "corruption",
    "duplicate": "duplication",
    "reorder": "reordering",
    "seed": "seed",
}
_MORE = {
    "seconds": "seconds",
    "cut_rate": "cuts",
    "reset_rate": "resets",
    "kill_host_rate": "host_kills",
    "boards": "boards",
    "samples": "samples",
    "batch_size": "batch_size",
    "checkpoint_every": "checkpoint_every",
    "optimizer": "optimizer",
}


def demo_recordings(bundle: Path) -> Path:
    """The recordings of the demo whose bundle it is, BUILD/demo/seedN/bundle: the newest that it made.

    Raises:
        HostError: there are none.
    """
    cache = bundle.parent.parent / "cache"
    found = sorted(cache.glob("*/recordings.pcm"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise HostError(
            f"{cache}: no recordings there",
            "make the demo's bundle and recordings with `make demo`, or name others: --bundle, --microphone",
        )
    return found[-1]


def _print(report: SoakReport) -> None:
    from rich.table import Table

    from cutlayer_boards.console import console

    table = Table("what", "how often", box=None)
    frames = report.frames
    for name, count in (
        ("frames", frames.frames),
        ("  lost", frames.lost),
        ("  corrupted", frames.corrupted),
        ("  duplicated", frames.duplicated),
        ("  reordered", frames.reordered),
        ("links cut", report.cuts),
        ("boards that lost power", report.resets),
        ("hosts killed", report.host_kills),
        ("steps made", report.steps),
        ("steps lost, doubled, other", report.lost + report.doubled + report.other_steps),
        ("bytes that differ", report.mismatched_bytes),
    ):
        table.add_row(name, f"{count:,}")
    console().print(table)
    goodput = report.as_json()["goodput"]
    console().print(f"{report.seconds:.0f} s, {goodput:.0%} of the undisturbed speed", highlight=False)
