"""200 steps of every kind of trainable layer: x86 with sanitizers, Cortex-M4F and NumPy agree."""

from __future__ import annotations

import subprocess
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from core import FLAGS, INCLUDE, ROOT, SOURCE
from cortex_program import build_program, run_program
from train_layer import ACTIVATIONS, KINDS, MASTERS, OPTIMIZERS, SOURCES, random_layer, wide_layer
from train_reference import Config, F, Layer, Reference, activation_range

from cutlayer_boards.spec import board

if TYPE_CHECKING:
    from pathlib import Path

HERE = ROOT / "tests" / "emulation"
CASES = [
    *(
        (kind, optimizer, wide, "float32")
        for wide in (False, True)
        for kind in KINDS
        for optimizer in OPTIMIZERS
    ),
    *((kind, optimizer, True, "bfloat16") for kind in KINDS for optimizer in OPTIMIZERS),
]
STEPS = 200
NATIVE = """
#include <stdint.h>
#include <stdio.h>
void say(const char *text);
void say(const char *text) { fputs(text, stdout); }
"""


def case(index: int) -> tuple[Layer, Config]:
    kind, optimizer, wide, master = CASES[index]
    make = wide_layer if wide else random_layer
    return make(np.random.default_rng(40 + index), kind), Config(optimizer, F(0.9), master=master)


def hexed(value: object) -> str:
    return f"{float(value).hex()}f"  # type: ignore[arg-type]


def layers_header() -> str:
    """All cases as C tables."""
    text, layers, configs = [], [], []
    for index in range(len(CASES)):
        layer, config = case(index)
        low, high = activation_range(layer.activation, layer.output_scale, layer.output_zero_point)
        reference = Reference(layer, config)
        tables = {
            "int8_t weights": layer.weights,
            "int32_t bias": layer.bias,
            "int32_t multiplier": reference.multiplier,
            "int8_t shift": reference.shift,
        }
        for name, values in tables.items():
            body = ", ".join(map(str, values.reshape(-1).tolist()))
            text.append(f"static const {name}{index}[] = {{{body}}};")
        scales = ", ".join(map(hexed, layer.weight_scale))
        text.append(f"static const float scale{index}[] = {{{scales}}};")
        numbers = (*layer.kernel, *layer.stride, *layer.pad, layer.depth_multiplier, layer.input_zero_point)
        numbers = (*numbers, layer.output_zero_point, low, high)
        shapes = ", ".join(f"{{{h}, {w}, {c}}}" for h, w, c in (layer.input_shape, layer.output_shape))
        pointers = ", ".join(f"{name.split()[1]}{index}" for name in tables)
        values = ", ".join(map(str, numbers))
        text.append(f"static const struct cl_conv_params params{index} = {{{shapes}, {values}, {pointers}}};")
        layers.append(
            f"{{{KINDS.index(layer.kind)}, 1, &params{index}, scale{index}, {hexed(layer.input_scale)}, "
            f"{hexed(layer.output_scale)}, {layer.weights.size}, {layer.channels}, "
            f"{ACTIVATIONS.index(layer.activation)}, {MASTERS.index(config.master)}}}"
        )
        settings = ", ".join(map(hexed, (config.momentum, config.beta2, config.epsilon)))
        configs.append(f"{{{OPTIMIZERS.index(config.optimizer)}, {settings}}}")
    text.append(f"#define LAYER_COUNT {len(CASES)}u")
    text.append("static const struct cl_trainable layers[] = {" + ", ".join(layers) + "};")
    text.append("static const struct cl_train_config configs[] = {" + ", ".join(configs) + "};")
    return "\n".join(text) + "\n"


def draws(seed: int, count: int) -> np.ndarray:
    """The program's generator, `count` at once."""
    powers = np.cumprod(np.full(count, 1664525, np.uint32), dtype=np.uint32)
    sums = np.cumsum(np.concatenate([np.ones(1, np.uint32), powers[:-1]]), dtype=np.uint32)
    states = powers * np.uint32(seed) + sums * np.uint32(1013904223)
    return ((states >> np.uint32(24)).astype(np.int16) - 128).astype(np.int8)


def in_numpy(index: int) -> tuple[int, int]:
    """The CRCs that the program writes for one case."""
    layer, config = case(index)
    reference = Reference(layer, config)
    inputs, outputs = np.prod(layer.input_shape), np.prod(layer.output_shape)
    stream = draws(index, STEPS * 2 * int(inputs + outputs)).reshape(STEPS, 2, -1)
    low, high = activation_range(layer.activation, layer.output_scale, layer.output_zero_point)
    crc = 0
    for step in stream:
        for drawn in step:
            a = drawn[:inputs].reshape(layer.input_shape)
            y = reference.forward(a)
            crc = zlib.crc32(y.tobytes(), crc)
            g = drawn[inputs:].reshape(y.shape)
            reference.accumulate(a, np.where((y == low) | (y == high), np.int8(0), g))
        reference.apply(F(1e-4), F(2e-3))
    state = [
        layer.by_kernel(reference.weights).astype("i1"),
        reference.bias.astype("<i4"),
        reference.multiplier.astype("<i4"),
        reference.shift.astype("i1"),
        reference.weight_scale,
    ]
    kept = [(reference.w, reference.b), tuple(reference.moments[:2])]
    if config.optimizer == "adam":
        kept.append(tuple(reference.moments[2:]))
    for weights, biases in kept:
        values = np.concatenate([layer.by_kernel(weights), biases]).astype("<f4")
        state.append(values if config.master == "float32" else values.view("<u2")[1::2])
    return crc, zlib.crc32(b"".join(np.ascontiguousarray(part).tobytes() for part in state))


def sources(folder: Path) -> list[Path]:
    (folder / "train_layers.h").write_text(layers_header())
    return [HERE / "train_program.c", SOURCE / "frame.c", *SOURCES]


def crcs(lines: list[str]) -> list[tuple[int, int]]:
    """Of the outputs and of the state, for each case."""
    return [(int(line.split()[0], 16), int(line.split()[1], 16)) for line in lines]


@pytest.fixture(scope="module")
def expected() -> list[tuple[int, int]]:
    return [in_numpy(index) for index in range(len(CASES))]


def test_native_under_sanitizers_equals_numpy(tmp_path: Path, expected: list[tuple[int, int]]) -> None:
    program = tmp_path / "program"
    (tmp_path / "platform.c").write_text(NATIVE)
    flags = [*FLAGS, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    includes = [f"-I{path}" for path in (INCLUDE, SOURCE, tmp_path)]
    files = [tmp_path / "platform.c", *sources(tmp_path)]
    subprocess.run(["gcc", *flags, *includes, "-o", program, *files, "-lm"], check=True)
    text = subprocess.run([program], capture_output=True, text=True, check=True, timeout=120).stdout
    assert crcs(text.splitlines()) == expected


@pytest.mark.qemu
def test_cortex_m4f_equals_numpy(tmp_path: Path, expected: list[tuple[int, int]]) -> None:
    spec = board("qemu_mps2_an386")
    program = build_program(spec, tmp_path, sources(tmp_path))
    assert crcs(run_program(spec, program)) == expected
