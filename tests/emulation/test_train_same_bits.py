"""200 steps of every kind of trainable layer: x86 with sanitizers, Cortex-M4F and NumPy agree."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from core import FLAGS, INCLUDE, SOURCE
from cortex_program import build_program, run_program
from train_layer import KINDS, OPTIMIZERS, random_layer, wide_layer
from train_program import crcs, in_numpy, sources
from train_reference import Config, F, Layer

from cutlayer_boards.spec import board

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = [
    *(
        (kind, optimizer, wide, "float32")
        for wide in (False, True)
        for kind in KINDS
        for optimizer in OPTIMIZERS
    ),
    *((kind, optimizer, True, "bfloat16") for kind in KINDS for optimizer in OPTIMIZERS),
]
STEPS = 200
MEMORY_BYTES = 32768
NATIVE = """
#include <stdint.h>
#include <stdio.h>
void say(const char *text);
void say(const char *text) { fputs(text, stdout); }
"""


def case(kind: str, optimizer: str, wide: bool, master: str, seed: int) -> tuple[Layer, Config]:
    make = wide_layer if wide else random_layer
    return make(np.random.default_rng(seed), kind), Config(optimizer, F(0.9), master=master)


CASES = [case(*layer_case, seed) for seed, layer_case in enumerate(LAYERS, 40)]


@pytest.fixture(scope="module")
def expected() -> list[tuple[int, int]]:
    return [in_numpy(*layer_case, index, STEPS) for index, layer_case in enumerate(CASES)]


def test_native_under_sanitizers_equals_numpy(tmp_path: Path, expected: list[tuple[int, int]]) -> None:
    program = tmp_path / "program"
    (tmp_path / "platform.c").write_text(NATIVE)
    flags = [*FLAGS, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    includes = [f"-I{path}" for path in (INCLUDE, SOURCE, tmp_path)]
    files = [tmp_path / "platform.c", *sources(tmp_path, CASES, STEPS, MEMORY_BYTES)]
    subprocess.run(["gcc", *flags, *includes, "-o", program, *files, "-lm"], check=True)
    text = subprocess.run([program], capture_output=True, text=True, check=True, timeout=120).stdout
    assert crcs(text.splitlines()) == expected


@pytest.mark.qemu
def test_cortex_m4f_equals_numpy(tmp_path: Path, expected: list[tuple[int, int]]) -> None:
    spec = board("qemu_mps2_an386")
    program = build_program(spec, tmp_path, sources(tmp_path, CASES, STEPS, MEMORY_BYTES))
    assert crcs(run_program(spec, program)) == expected
