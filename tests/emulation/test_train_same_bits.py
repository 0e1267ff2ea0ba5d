"""200 steps of every kind of trainable layer: x86 with sanitizers, Cortex-M4F and NumPy agree."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from core import FLAGS, INCLUDE, SOURCE
from cortex_program import build_program, run_program
from train_layer import ACTIVATIONS, KINDS, OPTIMIZERS, random_layer, wide_layer
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


def convolution(index: int) -> tuple[Layer, Config]:
    """Rows of 1 to 12 positions; every other layer has channels that the tiles cannot requantize."""
    rng = np.random.default_rng([7, index])
    width, pointwise = 1 + index % 12, index % 3 == 0
    depth = int(rng.choice((1, 3, 4, 5, 8, 12, 16, *((48, 67) if pointwise else ()))))
    shape, channels = (int(rng.integers(1, 6)), width, depth), int(rng.integers(2 + index % 2, 20))
    activation = ACTIVATIONS[index // 12 % 3]
    layer = random_layer(rng, "conv2d", activation, shape=shape, channels=channels, pointwise=pointwise)
    if index % 2:
        bias, scale, weights = layer.bias.copy(), layer.weight_scale.copy(), layer.weights.copy()
        ratio, middle = float(layer.output_scale) / float(layer.input_scale), channels // 2
        bias[0], scale[0] = 2**30 - 3, F(ratio * 2.0**-21)
        bias[-1], scale[-1] = -(2**30), F(ratio * 2.0**-25)
        # Multipliers of at least a half, of sums that are small: shifts of 0 and to the left.
        weights.reshape(channels, -1)[middle] = rng.integers(-1, 2, weights.size // channels)
        bias[middle], scale[middle] = 0, F(ratio * rng.uniform(0.5, 1 if index % 4 == 1 else 3))
        layer = replace(layer, bias=bias, weight_scale=scale, weights=weights)
    return layer, Config("sgd", F(0.9))


CONVOLUTIONS = [convolution(index) for index in range(72)]
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
    program = build_program(spec, tmp_path, sources(tmp_path, CASES, STEPS, MEMORY_BYTES, armv7em=True))
    assert crcs(run_program(spec, program)) == expected


@pytest.mark.qemu
def test_convolution_for_armv7e_m_equals_numpy(tmp_path: Path) -> None:
    expected = [in_numpy(*layer_case, index, 3) for index, layer_case in enumerate(CONVOLUTIONS)]
    spec = board("qemu_mps2_an386")
    program = build_program(spec, tmp_path, sources(tmp_path, CONVOLUTIONS, 3, 2**17, armv7em=True))
    assert crcs(run_program(spec, program)) == expected
