"""Both engines on the emulated Cortex-M4F: TFLM's bytes, the same weights, and the memory that was planned.

The interpreter's library is nobody's here: CUTLAYER_TFLM names its sources (the folder with tensorflow/), and
CUTLAYER_TFLM_ARCHIVE its archive for a Cortex-M4F, as PlatformIO leaves it in the build folder of a board.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import pytest
from baseline import NAMES, baseline
from core import INCLUDE, ROOT, SOURCE
from cortex_program import build_program, machine_flags, run_program

from cutlayer_boards.spec import board
from cutlayer_converter.arena import plan
from cutlayer_converter.emit import emit
from cutlayer_converter.graph import read_graph
from cutlayer_converter.interpreter import interpret
from cutlayer_converter.trainable import TrainableSpec, find_trainable

# All of the machine's memory: the largest head takes more than what the board gives out.
BOARD = replace(board("qemu_mps2_an386"), ram_bytes=4 << 20, flash_bytes=4 << 20)
PROGRAM = ROOT / "tests" / "emulation" / "engine_program.c"
TFLM = ROOT / "firmware" / "lib" / "tflm"
STEPS = 20


@dataclass(frozen=True, slots=True)
class Said:
    """What engine_program.c says. Bytes of memory are 0 for a compiled head."""

    memory_bytes: int
    needed_bytes: int
    wrong_sample: int
    crcs: tuple[str, ...]


def library() -> tuple[Path, Path]:
    """The library's sources and archive."""
    named = [os.environ.get(name) for name in ("CUTLAYER_TFLM", "CUTLAYER_TFLM_ARCHIVE")]
    if not all(named):
        pytest.skip(
            "set CUTLAYER_TFLM and CUTLAYER_TFLM_ARCHIVE to run TensorFlow Lite Micro's own interpreter"
        )
    source, archive = (Path(str(path)).resolve() for path in named)
    assert (source / "tensorflow" / "lite" / "micro").is_dir(), f"CUTLAYER_TFLM: {source} has no tensorflow/"
    assert archive.is_file(), f"CUTLAYER_TFLM_ARCHIVE: {archive} is no file"
    return source, archive


def interpreter(folder: Path) -> list[Path]:
    """Compiles what is C++, and names what else the program needs."""
    source, archive = library()
    includes = [f"-I{path}" for path in (INCLUDE, TFLM / "include", folder)]
    includes.append(f"-isystem{source}")
    flags = ["-std=gnu++17", "-O2", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
    flags += [*machine_flags(BOARD), "-DARDUINO=10800"]  # as an Arduino core does, which the library expects
    objects = []
    for path in (folder / "cutlayer_engine.cc", TFLM / "src" / "interpreter.cc"):
        objects.append(folder / f"{path.stem}.o")
        subprocess.run(["arm-none-eabi-g++", *flags, *includes, "-c", path, "-o", objects[-1]], check=True)
    return [*objects, TFLM / "src" / "log.c", archive]


def said(name: str, engine: str, folder: Path) -> Said:
    """Builds the head with that engine, and runs it."""
    given = baseline(name)
    graph = read_graph(given.tflite)
    arena_plan = plan(graph, BOARD.instruction_set, trainable_end=True)
    found = find_trainable(arena_plan, "sgd")
    # A head that is its trainable layer leaves nothing to interpret, unless it does not train.
    trainable = found if isinstance(found, TrainableSpec) and len(arena_plan.steps) > 1 else None
    interpreted = interpret(given.tflite, graph, arena_plan, trainable) if engine == "tflm" else None
    emit(graph, arena_plan, model_id=bytes(32), trainable=trainable, out=folder, interpreted=interpreted)
    weights = 0 if trainable is None else prod(trainable.weight_shape)
    sizes = {
        "SAMPLE_COUNT": len(given.inputs),
        "STEP_COUNT": STEPS,
        "TRAIN_BYTES": 32 * weights + 4096,
        "CHANNEL_COUNT": graph.output.shape[-1],
    }
    lines = ['#include "cutlayer/model.h"', '#include "cutlayer_model.h"']
    lines += [f"#define {field} {value}u" for field, value in sizes.items()]
    lines.append("extern const struct cl_model cutlayer_model;")
    for field, values in (("inputs", given.inputs), ("outputs", given.outputs)):
        text = ", ".join(map(str, values.reshape(-1).tolist()))
        lines.append(f"static const int8_t {field}[] = {{{text}}};")
    (folder / "engine_case.h").write_text("\n".join(lines) + "\n")
    core = [*sorted(SOURCE.glob("*.c")), *sorted((SOURCE / "kernels").rglob("*.c"))]
    more = interpreter(folder) if interpreted else []
    answer = run_program(
        BOARD, build_program(BOARD, folder, [PROGRAM, folder / "cutlayer_model.c", *core, *more])
    )
    assert len(answer) >= 3, answer
    return Said(int(answer[0]), int(answer[1]), int(answer[2]), tuple(answer[3:]))


@pytest.mark.qemu
@pytest.mark.parametrize("name", NAMES)
def test_engines_agree_in_every_byte_and_weight(name: str, tmp_path: Path) -> None:
    library()
    found = {}
    for engine in ("compiled", "tflm"):
        (tmp_path / engine).mkdir()
        found[engine] = said(name, engine, tmp_path / engine)
    compiled, tflm = found["compiled"], found["tflm"]
    assert (compiled.memory_bytes, tflm.wrong_sample, compiled.wrong_sample) == (0, -1, -1)
    assert tflm.crcs == compiled.crcs
    assert tflm.needed_bytes <= tflm.memory_bytes <= 1.02 * tflm.needed_bytes + 1024
