"""`cutlayer bench ram`: RAM of the demo's training firmware, by part."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cutlayer_converter.bundle import Optimizer
    from cutlayer_converter.trainable import Master
    from cutlayer_kws.ram import TrainingRam

OPTIMIZERS: tuple[Optimizer, ...] = ("adam", "sgd")
MASTERS: tuple[Master, ...] = ("float32", "bfloat16")


@click.command(name="ram")
@click.option(
    "--board",
    "board_name",
    default="qemu_mps2_an386",
    show_default=True,
    metavar="BOARD",
    help="To build for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_ram(*, board_name: str, as_json: bool) -> None:
    """Measure the RAM of the training firmware, by part.

    The firmware of the keyword-spotting demo, keys and storage in it, around the untrained network, whose
    sizes are the trained one's. The stack used is the most that a sealed training in QEMU took, with a new
    key, saving and restoring.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.spec import board
    from cutlayer_kws.ram import make_untrained, measure_ram

    spec, build = board(board_name), Path("build")
    folder = build.absolute() / "demo" / "ram"
    with console().status("the untrained network"):
        make_untrained(folder)
    found = []
    for master in MASTERS:
        for optimizer in OPTIMIZERS:
            with console().status(f"{optimizer}, {master}: converting, building and training"):
                found.append(measure_ram(folder, build, spec, optimizer, master))
    if as_json:
        print_json({"board": spec.name, "firmwares": [asdict(one) for one in found]})
        return
    _print_table(found)


def _print_table(found: list[TrainingRam]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("RAM, bytes", *(f"{one.optimizer}, {one.master}" for one in found))
    names: dict[str, str] = {}
    for one in found:
        names |= {_common(name): name for name in one.parts}
    for name in names:
        table.add_row(name, *(f"{_named(one)[name]:,}" for one in found))
    table.add_section()
    table.add_row("all", *(f"{one.ram_bytes:,}" for one in found))
    table.add_row("of the stack, used", *(f"{one.stack_used_bytes:,}" for one in found))
    Console().print(table)


def _named(one: TrainingRam) -> dict[str, int]:
    return {_common(name): size for name, size in one.parts.items()}


def _common(name: str) -> str:
    """A part's name without what differs between the firmwares: "optimizer (adam, bfloat16)"."""
    return name.split(" (")[0].split(",")[0]
