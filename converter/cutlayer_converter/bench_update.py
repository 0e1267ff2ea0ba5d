"""`cutlayer bench update`: the trainable layer's update in QEMU: instructions a MAC and a weight, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cutlayer_converter.bench_options import board_option, instruction_set_option, json_option

if TYPE_CHECKING:
    from cutlayer_boards.spec import InstructionSet
    from cutlayer_converter.measure_update import Optimizer, UpdateFigures, UpdateLayer
    from cutlayer_converter.trainable import Master


@click.command()
@board_option
@instruction_set_option
@json_option
def update(*, board_name: str, instruction_set: InstructionSet | None, as_json: bool) -> None:
    """Count the instructions of an update.

    They are of the gradient's accumulation, the optimizer and the requantization.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.spec import board
    from cutlayer_converter.measure_update import LAYERS, OPTIMIZERS, measure_update

    spec = board(board_name)
    kernels = spec.kernels_for(instruction_set)
    found = []
    cases: list[tuple[UpdateLayer, Optimizer, Master]]
    cases = [(layer, optimizer, "float32") for layer in LAYERS for optimizer in OPTIMIZERS]
    cases += [(LAYERS[0], optimizer, "bfloat16") for optimizer in OPTIMIZERS]
    for layer, optimizer, master in cases:
        with console().status(f"running {layer.name} with {optimizer} and {master} on {spec.name}"):
            figures = measure_update(layer, optimizer, spec, kernels, master=master)
        names = {"layer": layer.name, "optimizer": optimizer, "master": master}
        found.append({**names, **_values(layer, figures)})
    if as_json:
        print_json({"board": spec.name, "instruction_set": kernels, "updates": found})
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
