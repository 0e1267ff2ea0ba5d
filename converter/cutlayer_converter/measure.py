"""Instructions, memory and output of a compiled head on an emulated Cortex-M, counted by QEMU."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_converter.arena import plan
from cutlayer_converter.counted import build_program, check_machine, defines_for, head_sources, run_program
from cutlayer_converter.emit import emit
from cutlayer_converter.graph import read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cutlayer_boards.spec import BoardSpec, InstructionSet
    from cutlayer_converter.arena import ArenaPlan
    from cutlayer_converter.graph import Graph
    from cutlayer_converter.ops.lowered import Lowered


@dataclass(frozen=True, slots=True)
class OpFigures:
    """One kernel run. `macs` counts padded taps too; 0 for an op without weights."""

    op: str
    kernel: str
    output: tuple[int, ...]
    macs: int
    instructions: int


@dataclass(frozen=True, slots=True, eq=False)
class HeadFigures:
    """A head on a board.

    No cut but its end is kept: pairs of convolutions may run fused.

    Attributes:
        instructions: Of one run of the whole head.
        ops: The same by op.
        arena_bytes: Activations and scratch memory.
        stack_bytes: Below the caller of `cl_head_run`.
        flash_bytes: A firmware of the head alone, without a port: code, constants, weights.
        weight_bytes: Weights, biases, multipliers and other tables in it.
        outputs: int8 [samples, ...].
    """

    instructions: int
    ops: tuple[OpFigures, ...]
    arena_bytes: int
    stack_bytes: int
    flash_bytes: int
    weight_bytes: int
    outputs: NDArray[np.int8]


def measure_head(
    tflite: bytes,
    samples: NDArray[np.int8],
    board: BoardSpec,
    instruction_set: InstructionSet,
) -> HeadFigures:
    """Runs `tflite` on each of `samples` (int8 [n, ...]).

    For another `instruction_set` than Armv7E-M the portable kernels are built without the SIMD instructions
    that they use where there are some.

    Raises:
        ConvertError: The head has an op that the firmware lacks, the board is none that this can count on,
            or compiler or emulator fail.
    """
    check_machine(board)
    graph = read_graph(tflite)
    arena_plan = plan(graph, instruction_set, first_cut=-1)
    samples = np.ascontiguousarray(samples).reshape(len(samples), -1)
    with tempfile.TemporaryDirectory(prefix="cutlayer-bench-") as name:
        folder = Path(name)
        emit(graph, arena_plan, model_id=bytes(32), trainable=None, out=folder)
        rows = ",\n".join("{" + ", ".join(map(str, row.tolist())) + "}" for row in samples)
        (folder / "bench_samples.h").write_text(
            f"#define SAMPLE_COUNT {len(samples)}u\n"
            f"static const int8_t samples[SAMPLE_COUNT][{samples.shape[1]}] = {{{rows}}};\n"
        )
        defines = defines_for(instruction_set)
        sources = [folder / "cutlayer_model.c", *head_sources()]
        counted = build_program("bench_head", folder, sources, board, ["-DBENCH_COUNT", *defines])
        lines = run_program(counted, board)
        flash_bytes = _flash_bytes(build_program("bench_head", folder, sources, board, defines))
    return _figures(graph, arena_plan, lines, flash_bytes, board)


def _flash_bytes(program: Path) -> int:
    from cutlayer_boards.build import measure

    return measure(program).flash_bytes


def _figures(
    graph: Graph, arena_plan: ArenaPlan, lines: list[list[str]], flash_bytes: int, board: BoardSpec
) -> HeadFigures:
    assert board.instructions_per_tick is not None
    ticks = {int(line[1]): int(line[2]) for line in lines if line[0] == "op"}
    outputs = [bytes.fromhex(line[1]) for line in lines if line[0] == "output"]
    shape = (len(outputs), *graph.output.shape[1:])
    ops = tuple(
        OpFigures(
            op=" + ".join(part.operator.kind for part in step.lowered.parts),
            kernel=step.lowered.kernel,
            output=step.lowered.output.shape,
            macs=sum(macs_of(graph, part) for part in step.lowered.parts),
            instructions=round(ticks[index] * board.instructions_per_tick),
        )
        for index, step in enumerate(arena_plan.steps)
    )
    single = {line[0]: int(line[1]) for line in lines if line[0] in ("total", "stack")}
    return HeadFigures(
        instructions=round(single["total"] * board.instructions_per_tick),
        ops=ops,
        arena_bytes=arena_plan.arena_bytes,
        stack_bytes=single["stack"],
        flash_bytes=flash_bytes,
        weight_bytes=arena_plan.weight_bytes,
        outputs=np.frombuffer(b"".join(outputs), np.int8).reshape(shape),
    )


def macs_of(graph: Graph, lowered: Lowered) -> int:
    """Multiplications of a layer with weights, padded taps counted; 0 for any other."""
    kind = lowered.operator.kind
    if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    weights = graph.inputs(lowered.operator)[1]
    assert weights is not None
    channels = weights.shape[3] if kind == "DEPTHWISE_CONV_2D" else weights.shape[0]
    return lowered.output.count // channels * prod(weights.shape)
