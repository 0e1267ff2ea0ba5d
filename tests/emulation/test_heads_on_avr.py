"""Heads on the emulated ATmega2560, whose int has 16 bits and whose RAM 8 KB: TFLM's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from avr_program import RAM_BYTES, build_program, run_program
from core import ROOT
from head_cases import Case, random_cases
from random_head import random_heads

from cutlayer_converter.arena import ArenaPlan, plan
from cutlayer_converter.emit import emit
from cutlayer_converter.graph import read_graph
from cutlayer_converter.memory import OP_BYTES

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ROOT / "tests" / "emulation" / "avr_heads_program.c"
HEADS = 60
# Of them fit, with room for what the figures leave out.
HEADS_THAT_FIT = 40
KERNELS = {
    *("cl_add", "cl_average_pool", "cl_conv2d", "cl_dense", "cl_depthwise", "cl_max_pool", "cl_pad"),
    "cl_requantize",
}


def ram_bytes(head: ArenaPlan) -> int:
    return head.arena_bytes + head.weight_bytes + OP_BYTES * len(head.steps)


def build(folder: Path, case: Case, head: ArenaPlan) -> Path:
    folder.mkdir()
    graph = read_graph(case.tflite)
    model, _ = emit(graph, head, model_id=bytes(32), trainable=None, out=folder)
    lines = ['#include "cutlayer/model.h"', "extern const struct cl_model cutlayer_model;"]
    for name, values in (("inputs", case.inputs), ("outputs", case.outputs)):
        text = ", ".join(map(str, values.reshape(-1).tolist()))
        lines.append(f"static const int8_t {name}[] PROGMEM = {{{text}}};")
    counts = {"INPUT": case.inputs[0].size, "OUTPUT": case.outputs[0].size, "SAMPLE": len(case.inputs)}
    lines += [f"#define {name}_COUNT {count}u" for name, count in counts.items()]
    lines.append(f"#define ARENA_BYTES {head.arena_bytes}u")
    (folder / "head_case.h").write_text("\n".join(lines) + "\n")
    return build_program(folder, [PROGRAM, model])


@pytest.mark.simavr
def test_random_heads_equal_tflm(tmp_path: Path) -> None:
    heads = [(case, plan(read_graph(case.tflite))) for case in random_cases(random_heads(), HEADS)]
    small = [(case, head) for case, head in heads if ram_bytes(head) < RAM_BYTES - 512]
    assert len(small) >= HEADS_THAT_FIT
    ran = {step.lowered.kernel for _, head in small for step in head.steps}
    assert ran >= KERNELS, KERNELS - ran
    for index, (case, head) in enumerate(small):
        said = run_program(build(tmp_path / str(index), case, head))
        assert said == ["ok"] * len(case.inputs), index
