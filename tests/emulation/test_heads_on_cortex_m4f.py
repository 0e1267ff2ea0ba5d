"""Heads on the emulated Cortex-M4F, where the kernels use SIMD32: TFLM's bytes, and how many instructions."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from baseline import BASELINE, baseline
from core import FLAGS, INCLUDE, ROOT, SOURCE
from hypothesis import given, settings
from kernel_cases import cases
from random_head import random_heads

from cutlayer_converter.arena import plan
from cutlayer_converter.emit import emit
from cutlayer_converter.graph import read_graph
from cutlayer_converter.verify import Oracle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MPS2 = ROOT / "firmware" / "port" / "mps2"
PROGRAM = ROOT / "tests" / "emulation" / "heads_program.c"
CPU = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-ffunction-sections"]
# Under -icount shift=6 an instruction takes 64 ns, and a tick of the 25 MHz timer 40 ns.
INSTRUCTIONS_PER_TICK = 40 / 64
# At most this part of what TFLM's reference kernels take.
MOST_OF_REFERENCE = {"rnd_head4": 0.20, "kws": 0.20}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    tflite: bytes
    inputs: NDArray[np.int8]
    outputs: NDArray[np.int8]


def random_cases() -> list[Case]:
    """The same 60 heads in every run, with TFLM's outputs."""
    found: list[Case] = []

    @settings(cases, max_examples=60, derandomize=True)
    @given(random_heads())
    def collect(model: tuple[bytes, list[NDArray[np.int8]]]) -> None:
        tflite, samples = model
        oracle, output = Oracle(tflite), read_graph(tflite).output.index
        outputs = []
        for sample in samples:
            oracle.run(sample)
            outputs.append(oracle.tensor(output).copy())
        found.append(Case(tflite, np.stack(samples), np.stack(outputs)))

    collect()
    return found


def baseline_case(name: str) -> Case:
    model = baseline(name)
    return Case(model.tflite, model.inputs[:1], model.outputs[:1])


def build(folder: Path, all_cases: list[Case]) -> Path:
    """One program of all heads; each model gets a name of its own."""
    sources, rows, declarations, arena_bytes = [], [], [], 0
    for index, case in enumerate(all_cases):
        graph = read_graph(case.tflite)
        arena_plan = plan(graph)
        arena_bytes = max(arena_bytes, arena_plan.arena_bytes)
        model, _ = emit(graph, arena_plan, model_id=bytes(32), trainable=None, out=folder)
        source = folder / f"model{index}.c"
        source.write_text(model.read_text().replace("cl_model cutlayer_model", f"cl_model model{index}"))
        sources.append(source)
        for name, values in (("inputs", case.inputs), ("outputs", case.outputs)):
            text = ", ".join(map(str, values.reshape(-1).tolist()))
            declarations.append(f"static const int8_t {name}{index}[] = {{{text}}};")
        declarations.append(f"extern const struct cl_model model{index};")
        rows.append(f"{{&model{index}, inputs{index}, outputs{index}, {len(case.inputs)}}}")
    header = [
        '#include "cutlayer/model.h"',
        "struct head_case {",
        "    const struct cl_model *model;",
        "    const int8_t *inputs, *outputs;",
        "    uint32_t sample_count;",
        "};",
        *declarations,
        f"#define HEAD_COUNT {len(rows)}u",
        f"#define ARENA_BYTES {arena_bytes}u",
        f"static const struct head_case heads[] = {{{', '.join(rows)}}};",
    ]
    (folder / "heads.h").write_text("\n".join(header) + "\n")
    sources += [PROGRAM, MPS2 / "startup.c", MPS2 / "semihosting.c", SOURCE / "head.c"]
    sources += sorted((SOURCE / "kernels").glob("*.c"))
    flags = [
        *(flag for flag in FLAGS if flag != "-fPIC"),
        *(f"-I{path}" for path in (INCLUDE, SOURCE, MPS2, folder)),
    ]
    link = ["-nostartfiles", "--specs=nosys.specs", f"-T{MPS2 / 'mps2.ld'}", "-Wl,--gc-sections"]
    program = folder / "program"
    subprocess.run(["arm-none-eabi-gcc", *CPU, *flags, *link, "-o", program, *sources], check=True)
    return program


def run(program: Path) -> list[tuple[int, int]]:
    """The wrong sample (-1: none) and the instructions of each head."""
    console = [
        "-chardev",
        "stdio,id=console",
        "-semihosting-config",
        "enable=on,target=native,chardev=console",
    ]
    qemu = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "null"]
    command = [*qemu, "-icount", "shift=6", *console, "-kernel", program]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    lines = [line.split() for line in text.removesuffix("main returned").splitlines()]
    return [(int(wrong), round(int(ticks) * INSTRUCTIONS_PER_TICK)) for wrong, ticks in lines]


@pytest.mark.qemu
def test_random_heads_equal_tflm(tmp_path: Path) -> None:
    heads = random_cases()
    results = run(build(tmp_path, heads))
    assert len(results) == len(heads) == 60
    assert [wrong for wrong, _ in results] == [-1] * len(heads)


@pytest.mark.qemu
def test_baseline_heads_equal_tflm_in_a_fifth_of_its_instructions(tmp_path: Path) -> None:
    figures = json.loads((BASELINE / "figures.json").read_text())
    results = run(build(tmp_path, [baseline_case(name) for name in MOST_OF_REFERENCE]))
    for (name, part), (wrong, instructions) in zip(MOST_OF_REFERENCE.items(), results, strict=True):
        assert wrong == -1, name
        reference = figures[name]["reference"]["instructions"]
        assert instructions <= part * reference, f"{name}: {instructions} of {reference}"
