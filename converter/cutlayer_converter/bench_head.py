"""`cutlayer bench head`: any int8 model, whole, in QEMU: instructions, memory, and bytes beside TFLM's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_converter.bench_options import board_option, instruction_set_option, json_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cutlayer_boards.spec import BoardSpec, InstructionSet
    from cutlayer_converter.measure import HeadFigures

# Two multiplications an instruction is what SMLAD gives.
ROOFLINE_INSTRUCTIONS_A_MAC = 0.5
RANDOM_SAMPLES = 4
PLAIN_C: tuple[InstructionSet, ...] = ("long-multiply", "portable")
# Of kernels in plain C, where every model is measured with the board's own.
PLAIN_C_VALUES = ("instructions", "instructions_of_tflm", "bytes_different_from_tflm")


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@board_option
@click.option(
    "--input",
    "input_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="int8 inputs as .npy: one, or several along a first axis. Random ones unless given.",
)
@click.option(
    "--output",
    "output_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Gets the int8 outputs as .npy.",
)
@instruction_set_option
@json_option
def head(
    *,
    model: Path | None,
    board_name: str,
    input_path: Path | None,
    output_path: Path | None,
    instruction_set: InstructionSet | None,
    as_json: bool,
) -> None:
    """Count the instructions of an int8 MODEL, by op.

    MODEL, a .tflite file, runs whole in QEMU.

    Without MODEL, every model of ../shared/baseline, with the kernels in plain C too.
    """
    import numpy as np

    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.spec import board
    from cutlayer_converter.baseline import models_to_measure

    paths = models_to_measure([model] if model else [], as_json=as_json)
    if not paths:
        return
    spec = board(board_name)
    kernels = spec.kernels_for(instruction_set)
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        with console().status(f"running {path.stem} on {spec.name}"):
            found[path.stem], outputs = _one(path, spec, input_path, kernels)
            if model is None and instruction_set is None:
                found[path.stem]["plain_c"] = _in_plain_c(path, spec, input_path)
        if output_path:
            np.save(output_path, outputs)
    if as_json:
        print_json(next(iter(found.values())) if model else {"models": found})
        return
    for name, figures in found.items():
        _print_table(name, figures)


def _in_plain_c(path: Path, board: BoardSpec, input_path: Path | None) -> dict[str, Any]:
    """What is quoted of the kernels in plain C that `board` can run, by instruction set."""
    found = {
        kernels: _one(path, board, input_path, kernels)[0]
        for kernels in PLAIN_C
        if kernels != board.instruction_set
    }
    return {
        kernels: {name: values[name] for name in PLAIN_C_VALUES if name in values}
        for kernels, values in found.items()
    }


def _one(
    path: Path, board: BoardSpec, input_path: Path | None, kernels: InstructionSet
) -> tuple[dict[str, Any], NDArray[np.int8]]:
    from cutlayer_converter.graph import read_graph
    from cutlayer_converter.measure import measure_head

    tflite = path.read_bytes()
    samples = _samples(read_graph(tflite).input.shape, input_path)
    figures = measure_head(tflite, samples, board, kernels)
    different = _differences(tflite, samples, figures.outputs)
    values = _values(figures)
    values |= {"model": path.name, "board": board.name, "instruction_set": kernels}
    values |= {"samples": len(samples), "output_bytes": figures.outputs.size, **different}
    values |= _beside_tflm(path, values, "reference" if kernels in PLAIN_C else "cmsis_nn")
    return values, figures.outputs


def _beside_tflm(path: Path, values: dict[str, Any], kernels: str) -> dict[str, Any]:
    """Parts of TFLM's figures, where ../shared/baseline/figures.json lies beside the model."""
    import json

    try:
        figures = json.loads((path.parent / "figures.json").read_text())[path.stem][kernels]
    except (OSError, ValueError, KeyError):
        return {}
    pairs = {
        "instructions": figures["instructions"],
        "arena_bytes": figures["arena_bytes"],
        "flash_bytes_without_weights": figures["flash_without_model_bytes"],
    }
    return {"tflm_kernels": kernels} | {
        f"{name}_of_tflm": round(values[name] / theirs, 3) for name, theirs in pairs.items()
    }


def _samples(shape: tuple[int, ...], path: Path | None) -> NDArray[np.int8]:
    import numpy as np

    from cutlayer_converter.errors import ConvertError
    from cutlayer_converter.verify import random_sample

    if path is None:
        generator = np.random.default_rng(0)
        return np.concatenate([random_sample(generator, shape, number) for number in range(RANDOM_SAMPLES)])
    try:
        samples = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        message = f"{path} is no .npy file: {error}"
        raise ConvertError(message, "save the inputs with numpy.save") from error
    count = int(np.prod(shape))
    if samples.dtype != np.int8 or samples.size % count or not samples.size:
        message = f"{path} holds {samples.dtype} of shape {samples.shape}; the model takes int8 {shape}"
        raise ConvertError(message, "give int8 inputs of the model's shape")
    return np.ascontiguousarray(samples.reshape(-1, *shape[1:]))


def _differences(
    tflite: bytes, samples: NDArray[np.int8], outputs: NDArray[np.int8]
) -> dict[str, int | None]:
    """The bytes that are not TFLM's; None where `tflite_micro` is not installed."""
    from cutlayer_converter.errors import ConvertError
    from cutlayer_converter.graph import read_graph
    from cutlayer_converter.verify import Oracle

    try:
        oracle = Oracle(tflite)
    except ConvertError:
        return {"bytes_different_from_tflm": None}
    graph, different = read_graph(tflite), 0
    for sample, output in zip(samples, outputs, strict=True):
        oracle.run(sample[None])
        different += int((oracle.tensor(graph.output.index).reshape(-1) != output.reshape(-1)).sum())
    return {"bytes_different_from_tflm": different}


def _values(figures: HeadFigures) -> dict[str, Any]:
    macs = sum(op.macs for op in figures.ops)
    return {
        "instructions": figures.instructions,
        "macs": macs,
        "instructions_a_mac": _ratio(figures.instructions, macs),
        "roofline_instructions_a_mac": ROOFLINE_INSTRUCTIONS_A_MAC,
        "arena_bytes": figures.arena_bytes,
        "stack_bytes": figures.stack_bytes,
        "flash_bytes": figures.flash_bytes,
        "flash_bytes_without_weights": figures.flash_bytes - figures.weight_bytes,
        "ops": [
            {
                "op": op.op,
                "kernel": op.kernel,
                "output": op.output,
                "macs": op.macs,
                "instructions": op.instructions,
                "instructions_a_mac": _ratio(op.instructions, op.macs),
            }
            for op in figures.ops
        ],
    }


def _ratio(instructions: int, macs: int) -> float | None:
    return round(instructions / macs, 3) if macs else None


def _print_table(name: str, values: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("op", "kernel", "output", "MACs", "instructions", "a MAC (0.5)", title=name)
    for op in values["ops"]:
        shape = "x".join(map(str, op["output"][1:]))
        ratio = "" if op["instructions_a_mac"] is None else f"{op['instructions_a_mac']:.2f}"
        table.add_row(op["op"], op["kernel"], shape, f"{op['macs']:,}", f"{op['instructions']:,}", ratio)
    console = Console()
    console.print(table)
    wrong = values["bytes_different_from_tflm"]
    compared = "not compared with TFLM" if wrong is None else f"{wrong} of {values['output_bytes']:,} differ"
    console.print(
        f"{values['instructions']:,} instructions; arena {values['arena_bytes']:,}, stack "
        f"{values['stack_bytes']:,}, flash without weights {values['flash_bytes_without_weights']:,} of "
        f"{values['flash_bytes']:,} bytes; output bytes: {compared}"
    )
    if "tflm_kernels" in values:
        console.print(
            f"of TFLM's ({values['tflm_kernels']}): instructions {values['instructions_of_tflm']:.3f}, arena "
            f"{values['arena_bytes_of_tflm']:.3f}, flash {values['flash_bytes_without_weights_of_tflm']:.3f}"
        )
