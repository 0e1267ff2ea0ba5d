"""`cutlayer bench update`: the trainable layer's update in QEMU: instructions a MAC and a weight, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cutlayer_converter.measure_update import Optimizer, UpdateFigures, UpdateLayer
    from cutlayer_converter.trainable import Master


@click.command()
@click.option(
    "--board", "board_name", default="qemu_mps2_an386", show_default=True, metavar="BOARD", help="To run on."
)
@click.option("--portable", is_flag=True, help="Plain C, without SIMD instructions.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def update(*, board_name: str, portable: bool, as_json: bool) -> None:
    """Count the instructions of an update.

    They are of the gradient's accumulation, the optimizer and the requantization.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.spec import board
    from cutlayer_converter.measure_update import LAYERS, OPTIMIZERS, measure_update

    spec = board(board_name)
    found = []
    cases: list[tuple[UpdateLayer, Optimizer, Master]]
    cases = [(layer, optimizer, "float32") for layer in LAYERS for optimizer in OPTIMIZERS]
    cases += [(LAYERS[0], optimizer, "bfloat16") for optimizer in OPTIMIZERS]
    for layer, optimizer, master in cases:
        with console().status(f"running {layer.name} with {optimizer} and {master} on {spec.name}"):
            figures = measure_update(layer, optimizer, spec, master=master, simd=not portable)
        names = {"layer": layer.name, "optimizer": optimizer, "master": master}
        found.append({**names, **_values(layer, figures)})
    if as_json:
        print_json({"board": spec.name, "portable": portable, "updates": found})
        return
    _print_table(found)


def _values(layer: UpdateLayer, figures: UpdateFigures) -> dict[str, Any]:
    weights = layer.weight_count + layer.channels
    return {
        "kind": layer.kind,
        "shape": f"{layer.channels} x {layer.depth}, {layer.kernel} x {layer.kernel}",
        "positions": layer.height * layer.width,
        "macs": layer.macs,
        "weights": weights,
        "forward_instructions": figures.forward,
        "accumulate_instructions": figures.accumulate,
        "accumulate_instructions_a_mac": round(figures.accumulate / layer.macs, 3),
        "apply_instructions": figures.apply,
        "apply_instructions_a_weight": round(figures.apply / weights, 2),
        "train_bytes": figures.train_bytes,
        "stack_bytes": figures.stack_bytes,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "layer", "optimizer", "MACs", "accumulate a MAC", "weights", "apply a weight", "state bytes"
    )
    for row in rows:
        table.add_row(
            f"{row['layer']} {row['shape']}",
            f"{row['optimizer']}, {row['master']}",
            f"{row['macs']:,}",
            f"{row['accumulate_instructions_a_mac']:.2f}",
            f"{row['weights']:,}",
            f"{row['apply_instructions_a_weight']:.1f}",
            f"{row['train_bytes']:,}",
        )
    Console().print(table)
