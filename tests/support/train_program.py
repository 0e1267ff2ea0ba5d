"""The tables of tests/emulation/train_program.c, and the CRCs that it has to say: NumPy's."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
from core import ROOT, SOURCE
from train_layer import ACTIVATIONS, KINDS, MASTERS, OPTIMIZERS, SOURCES
from train_reference import Config, F, Layer, Reference, activation_range

from cutlayer_converter.ops.armv7em import PLAIN, plain_scratch_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAM = ROOT / "tests" / "emulation" / "train_program.c"
SAMPLES_A_STEP = 2
SIDES = ("height", "width")


def _hexed(value: object) -> str:
    return f"{float(value).hex()}f"  # type: ignore[arg-type]


def layers_header(
    cases: Sequence[tuple[Layer, Config]], steps: int, memory_bytes: int, *, armv7em: bool = False
) -> str:
    """All cases as C tables, and the sizes of what the program needs for them.

    With `armv7em` convolutions of two channels and more have the kernel for that instruction set.
    """
    text, layers, configs = ['#include "cutlayer/kernels_armv7em.h"'], [], []
    for index, (layer, config) in enumerate(cases):
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
        scales = ", ".join(map(_hexed, layer.weight_scale))
        text.append(f"static const float scale{index}[] = {{{scales}}};")
        numbers = (*layer.kernel, *layer.stride, *layer.pad, layer.depth_multiplier, layer.input_zero_point)
        numbers = (*numbers, layer.output_zero_point, low, high)
        shapes = ", ".join(f"{{{h}, {w}, {c}}}" for h, w, c in (layer.input_shape, layer.output_shape))
        pointers = ", ".join(f"{name.split()[1]}{index}" for name in tables)
        values = ", ".join(map(str, numbers))
        text.append(f"static const struct cl_conv_params params{index} = {{{shapes}, {values}, {pointers}}};")
        layers.append(
            f"{{{KINDS.index(layer.kind)}, 1, &params{index}, scale{index}, {_hexed(layer.input_scale)}, "
            f"{_hexed(layer.output_scale)}, {layer.weights.size}, 0, {layer.channels}, "
            f"{ACTIVATIONS.index(layer.activation)}, {MASTERS.index(config.master)}, "
            f"{f'{PLAIN}_rows' if armv7em and _has_plain(layer) else 0}}}"
        )
        settings = ", ".join(map(_hexed, (config.momentum, config.beta2, config.epsilon)))
        configs.append(f"{{{OPTIMIZERS.index(config.optimizer)}, {settings}}}")
    text += [f"#define {name} {value}u" for name, value in _sizes(cases, armv7em=armv7em).items()]
    needed = ", ".join(str(_scratch_bytes(layer, armv7em=armv7em)) for layer, _ in cases)
    text.append(f"static const uint32_t scratch_bytes[] = {{{needed}}};")
    text += [f"#define STEP_COUNT {steps}u", f"#define MEMORY_BYTES {memory_bytes}u"]
    text.append("static const struct cl_trainable layers[] = {" + ", ".join(layers) + "};")
    text.append("static const struct cl_train_config configs[] = {" + ", ".join(configs) + "};")
    return "\n".join(text) + "\n"


def _has_plain(layer: Layer) -> bool:
    return layer.kind == "conv2d" and layer.channels > 1


def _scratch_bytes(layer: Layer, *, armv7em: bool) -> int:
    if armv7em and _has_plain(layer):
        return _plain_scratch_bytes(layer)
    return 4 * layer.channels + 2 * int(np.prod(layer.kernel)) * layer.input_shape[2]


def _sizes(cases: Sequence[tuple[Layer, Config]], *, armv7em: bool) -> dict[str, int]:
    layers = [layer for layer, _ in cases]
    return {
        "LAYER_COUNT": len(layers),
        "INPUT_COUNT": max(int(np.prod(layer.input_shape)) for layer in layers),
        "OUTPUT_COUNT": max(int(np.prod(layer.output_shape)) for layer in layers),
        "GRADIENT_BYTES": max(
            68 * (layer.channels + 4) + int(np.prod(layer.output_shape)) for layer in layers
        ),
        "CHANNEL_COUNT": max(layer.channels for layer in layers),
        "SCRATCH_BYTES": max(_scratch_bytes(layer, armv7em=armv7em) for layer in layers),
    }


def _plain_scratch_bytes(layer: Layer) -> int:
    fields = {"input": layer.input_shape, "output": layer.output_shape}
    sizes = {"kernel": layer.kernel, "stride": layer.stride}
    sides = {f"{name}_{side}": n for name, size in sizes.items() for side, n in zip(SIDES, size, strict=True)}
    pads = dict(zip(("pad_top", "pad_left"), layer.pad, strict=True))
    return plain_scratch_bytes({**fields, **sides, **pads})


def _draws(seed: int, count: int) -> np.ndarray:
    """The program's generator, `count` at once."""
    powers = np.cumprod(np.full(count, 1664525, np.uint32), dtype=np.uint32)
    sums = np.cumsum(np.concatenate([np.ones(1, np.uint32), powers[:-1]]), dtype=np.uint32)
    states = powers * np.uint32(seed) + sums * np.uint32(1013904223)
    return ((states >> np.uint32(24)).astype(np.int16) - 128).astype(np.int8)


def in_numpy(layer: Layer, config: Config, index: int, steps: int) -> tuple[int, int]:
    """The CRCs that the program writes for case `index`: of its outputs and of its state."""
    reference = Reference(layer, config)
    inputs, outputs = np.prod(layer.input_shape), np.prod(layer.output_shape)
    stream = _draws(index, steps * SAMPLES_A_STEP * int(inputs + outputs)).reshape(steps, SAMPLES_A_STEP, -1)
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


def sources(
    folder: Path,
    cases: Sequence[tuple[Layer, Config]],
    steps: int,
    memory_bytes: int,
    *,
    armv7em: bool = False,
) -> list[Path]:
    """Writes the tables into `folder`; returns what to compile besides a platform."""
    (folder / "train_layers.h").write_text(layers_header(cases, steps, memory_bytes, armv7em=armv7em))
    own = sorted((SOURCE / "kernels" / "armv7em").glob("*.c")) if armv7em else []
    return [PROGRAM, SOURCE / "frame.c", *SOURCES, *own]


def crcs(lines: list[str]) -> list[tuple[int, int]]:
    """Of the outputs and of the state, for each case."""
    return [(int(line.split()[0], 16), int(line.split()[1], 16)) for line in lines]
