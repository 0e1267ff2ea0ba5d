"""`cutlayer bench bytes`: bytes that differ from TFLM's, at every cut of every model, for random inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_converter.bench_options import board_option, instruction_set_option, json_option

if TYPE_CHECKING:
    from cutlayer_boards.spec import InstructionSet
    from cutlayer_converter.measure_bytes import ByteFigures


@click.command(name="bytes")
@click.argument("models", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1)
@click.option(
    "--inputs",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Random inputs for each model; every fourth of the range's ends only.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the inputs.")
@board_option
@instruction_set_option
@json_option
def bench_bytes(
    *,
    models: tuple[Path, ...],
    inputs: int,
    seed: int,
    board_name: str,
    instruction_set: InstructionSet | None,
    as_json: bool,
) -> None:
    """Compare int8 MODELS with TFLM, byte by byte.

    Each runs natively in plain C and in QEMU with the board's kernels, and is compared at every cut; and once
    more with pairs of convolutions fused.

    Without MODELS, every model of ../shared/baseline.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.spec import board
    from cutlayer_converter.baseline import models_to_measure
    from cutlayer_converter.measure_bytes import measure_bytes

    paths = models_to_measure(models, as_json=as_json)
    if not paths:
        return
    spec = board(board_name)
    kernels = spec.kernels_for(instruction_set)
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        with console().status(f"{path.stem}: 0 of {inputs:,} inputs") as status:

            def show(done: int, name: str = path.stem, status: Any = status) -> None:
                status.update(f"{name}: {done:,} of {inputs:,} inputs")

            figures = measure_bytes(path.read_bytes(), inputs, spec, kernels, seed=seed, progress=show)
        found[path.stem] = _values(figures)
    total = sum(one["differing"] for one in found.values())
    if as_json:
        print_json(
            {
                "board": spec.name,
                "instruction_set": kernels,
                "seed": seed,
                "inputs": inputs,
            }
            | {"differing": total, "models": found}
        )
        return
    _print_table(found)


def _values(figures: ByteFigures) -> dict[str, Any]:
    return {
        "inputs": figures.inputs,
        "cuts": figures.cuts,
        "bytes": figures.compared,
        "differing": figures.differing_native + figures.differing_board,
        "differing_native": figures.differing_native,
        "differing_board": figures.differing_board,
    }


def _print_table(found: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "cuts", "inputs", "bytes compared", "differ: native", "board")
    for name, values in found.items():
        columns = ("cuts", "inputs", "bytes", "differing_native", "differing_board")
        table.add_row(name, *(f"{values[column]:,}" for column in columns))
    Console().print(table)
