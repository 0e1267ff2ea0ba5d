"""Heads and layers on the emulated Cortex-M4F, with its own kernels and those in plain C: TFLM's bytes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from baseline import BASELINE, baseline
from core import ROOT, SOURCE
from cortex_program import build_program, run_program
from fused import fused_wherever_possible
from head_cases import Case, random_cases
from layer_models import additions, convolutions, dense, depthwise_3x3, global_average_pools
from random_head import convolution_chains, random_heads

from cutlayer_boards.spec import board
from cutlayer_converter.arena import plan
from cutlayer_converter.emit import emit
from cutlayer_converter.graph import read_graph

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_boards.spec import InstructionSet

BOARD = board("qemu_mps2_an386")
PROGRAM = ROOT / "tests" / "emulation" / "heads_program.c"
# At most this part of what TFLM's reference kernels take.
MOST_OF_REFERENCE = {"rnd_head4": 0.07, "kws": 0.07}
# The last operator's kernel, and layers that mostly get it.
LAYERS = {
    "cl_add_armv7em": additions(),
    "cl_average_pool_armv7em": global_average_pools(),
    "cl_conv2d_armv7em": convolutions(),
    "cl_dense_armv7em": dense(),
    "cl_depthwise_armv7em": depthwise_3x3(),
    "cl_add_long": additions(),
    "cl_conv2d_long": convolutions(),
    "cl_dense_long": dense(),
    "cl_depthwise_long": depthwise_3x3(),
}
LAYER_COUNT = int(os.environ.get("CUTLAYER_CASES", "60"))


def baseline_case(name: str) -> Case:
    model = baseline(name)
    return Case(model.tflite, model.inputs[:1], model.outputs[:1])


def build(
    folder: Path,
    all_cases: list[Case],
    instruction_set: InstructionSet = BOARD.instruction_set,
    first_cut: int = 0,
) -> Path:
    """One program of all heads; each model gets a name of its own."""
    sources, rows, declarations, arena_bytes = [], [], [], 0
    for index, case in enumerate(all_cases):
        graph = read_graph(case.tflite)
        arena_plan = plan(graph, instruction_set, first_cut=first_cut)
        arena_bytes = max(arena_bytes, arena_plan.arena_bytes)
        model, _ = emit(graph, arena_plan, model_id=bytes(32), trainable=None, out=folder)
        source = folder / f"model{index}.c"
        source.write_text(model.read_text().replace("cl_model cutlayer_model", f"cl_model model{index}"))
        sources.append(source)
        outputs = [step.lowered.output.count for step in arena_plan.steps]
        if arena_plan.rows:
            outputs[-1] = arena_plan.steps[-1].lowered.row_count
        sizes = (
            f"{{{count}, {step.lowered.scratch_bytes}}}"
            for count, step in zip(outputs, arena_plan.steps, strict=True)
        )
        declarations.append(f"static const struct sizes sizes{index}[] = {{{', '.join(sizes)}}};")
        for name, values in (("inputs", case.inputs), ("outputs", case.outputs)):
            text = ", ".join(map(str, values.reshape(-1).tolist()))
            declarations.append(f"static const int8_t {name}{index}[] = {{{text}}};")
        declarations.append(f"extern const struct cl_model model{index};")
        rows.append(f"{{&model{index}, sizes{index}, inputs{index}, outputs{index}, {len(case.inputs)}}}")
    header = [
        '#include "cutlayer/model.h"',
        "struct sizes {",
        "    uint32_t output, scratch;",
        "};",
        "struct head_case {",
        "    const struct cl_model *model;",
        "    const struct sizes *sizes;",
        "    const int8_t *inputs, *outputs;",
        "    uint32_t sample_count;",
        "};",
        *declarations,
        f"#define HEAD_COUNT {len(rows)}u",
        f"#define ARENA_BYTES {arena_bytes}u",
        f"static const struct head_case heads[] = {{{', '.join(rows)}}};",
    ]
    (folder / "heads.h").write_text("\n".join(header) + "\n")
    sources += [PROGRAM, SOURCE / "head.c", *sorted((SOURCE / "kernels").rglob("*.c"))]
    return build_program(BOARD, folder, sources)


def run(program: Path) -> list[tuple[int, int]]:
    """The wrong sample (-1: none) and the instructions of each head."""
    lines = [line.split() for line in run_program(BOARD, program, "-icount", "shift=6")]
    return [(int(wrong), round(int(ticks) * BOARD.instructions_per_tick)) for wrong, ticks in lines]


@pytest.mark.qemu
@pytest.mark.parametrize("instruction_set", ["armv7e-m", "long-multiply"])
def test_random_heads_equal_tflm(instruction_set: InstructionSet, tmp_path: Path) -> None:
    heads = random_cases(random_heads(), 60)
    results = run(build(tmp_path, heads, instruction_set))
    assert len(results) == len(heads) == 60
    assert [wrong for wrong, _ in results] == [-1] * len(heads)


@pytest.mark.qemu
@pytest.mark.parametrize("kernel", LAYERS)
def test_random_layers_equal_tflm(kernel: str, tmp_path: Path) -> None:
    layers = random_cases(LAYERS[kernel], LAYER_COUNT)
    instruction_set: InstructionSet = "armv7e-m" if kernel.endswith("armv7em") else "long-multiply"
    chosen = [plan(read_graph(layer.tflite), instruction_set).steps[-1] for layer in layers]
    assert sum(step.lowered.kernel == kernel for step in chosen) >= LAYER_COUNT / 10
    results = run(build(tmp_path, layers, instruction_set))
    wrong = {index: result[0] for index, result in enumerate(results) if result[0] != -1}
    assert wrong == {}
    assert len(results) == len(layers)


@pytest.mark.qemu
def test_fused_convolutions_equal_tflm(tmp_path: Path) -> None:
    chains = random_cases(convolution_chains(), LAYER_COUNT)
    with fused_wherever_possible():
        results = run(build(tmp_path, chains, first_cut=-1))
        plans = [plan(read_graph(chain.tflite), BOARD.instruction_set, first_cut=-1) for chain in chains]
    assert [wrong for wrong, _ in results] == [-1] * len(chains)
    fused = [
        part.kernel
        for each in plans
        for step in each.steps
        if len(parts := step.lowered.parts) > 1
        for part in parts
    ]
    assert {"cl_conv2d", "cl_depthwise", "cl_conv2d_armv7em", "cl_depthwise_armv7em"} <= {*fused}


@pytest.mark.qemu
def test_baseline_heads_equal_tflm_in_a_fourteenth_of_its_instructions(tmp_path: Path) -> None:
    figures = json.loads((BASELINE / "figures.json").read_text())
    results = run(build(tmp_path, [baseline_case(name) for name in MOST_OF_REFERENCE]))
    for (name, part), (wrong, instructions) in zip(MOST_OF_REFERENCE.items(), results, strict=True):
        assert wrong == -1, name
        reference = figures[name]["reference"]["instructions"]
        assert instructions <= part * reference, f"{name}: {instructions} of {reference}"
