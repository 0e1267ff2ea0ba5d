"""The trainable layer in C with the interface of train_reference.Reference, and random layers for both."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from core import SOURCE, core_library
from train_reference import Config, F, Layer, activation_range, quantize_multiplier

KINDS = ("conv2d", "depthwise", "dense")
OPTIMIZERS = ("sgd", "adam")
MASTERS = ("float32", "bfloat16")
ACTIVATIONS = ("none", "relu", "relu6")
SOURCES = (
    *sorted(SOURCE.glob("train*.c")),
    SOURCE / "float_bits.c",
    SOURCE / "head.c",
    *(SOURCE / "kernels" / f"{name}.c" for name in (*KINDS, "rows")),
)
INTERNAL = """
int32_t cl_quantize_multiplier(float a, float b, float c, int32_t *multiplier, int8_t *shift);
float cl_divide_to_subnormal(float x, float y);
int32_t cl_quantize(float x, float scale);
"""


@cache
def train_library(small: bool = False) -> tuple[Any, Any]:
    """The trainable layer, as it is built for speed or (`small`) for size."""
    defines = ("CL_TRAIN_FAST=0",) if small else ()
    return core_library(list(SOURCES), ["cutlayer/train.h"], INTERNAL, defines)


def random_layer(
    rng: np.random.Generator,
    kind: str,
    activation: str | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    channels: int | None = None,
    pointwise: bool = False,
) -> Layer:
    """A layer of a random geometry that TFLite could have made ("same" or "valid" padding).

    Of a layer that is not dense, `shape` says its input's and `channels` the convolution's.
    """
    if kind == "dense":
        shape, kernel, stride = (1, 1, int(rng.integers(1, 24))), (1, 1), (1, 1)
    else:
        shape = shape or tuple(int(n) for n in rng.integers((1, 1, 1), (9, 9, 7)))
        kernel = (1, 1) if pointwise else tuple(int(n) for n in rng.integers(1, 5, 2))
        stride = (1, 1) if pointwise else tuple(int(n) for n in rng.integers(1, 4, 2))
    same = bool(rng.integers(2)) or kernel[0] > shape[0] or kernel[1] > shape[1]
    out, pad = [], []
    for size, taps, step in zip(shape, kernel, stride, strict=False):
        out.append(-(-size // step) if same else (size - taps) // step + 1)
        pad.append(max((out[-1] - 1) * step + taps - size, 0) // 2)
    multiplier = int(rng.integers(1, 4)) if kind == "depthwise" else 1
    if kind == "depthwise":
        channels = shape[2] * multiplier
    elif channels is None:
        channels = int(rng.integers(1, 12))
    taps = kernel[0] * kernel[1] * (1 if kind == "depthwise" else shape[2])
    input_scale, weight_scale = F(rng.uniform(0.005, 0.1)), rng.uniform(0.001, 0.02, channels).astype(F)
    typical = float(input_scale) * 73 * 60 * float(weight_scale.mean()) * taps**0.5
    activation = activation or str(rng.choice(ACTIVATIONS))
    scale = (
        F(6 / 255) if activation == "relu6" and rng.integers(2) else F(typical * rng.uniform(0.3, 2) / 127)
    )
    return Layer(
        kind=kind,
        input_shape=shape,
        output_shape=(out[0], out[1], channels),
        kernel=kernel,
        stride=stride,
        pad=(pad[0], pad[1]),
        depth_multiplier=multiplier,
        input_scale=input_scale,
        input_zero_point=int(rng.integers(-128, 128)),
        output_scale=scale,
        output_zero_point=-128 if activation != "none" else int(rng.integers(-128, 128)),
        activation=activation,
        weights=rng.integers(-127, 128, channels * taps).astype(np.int8),
        bias=rng.integers(-20000, 20000, channels).astype(np.int32),
        weight_scale=weight_scale,
    )


def wide_layer(rng: np.random.Generator, kind: str) -> Layer:
    """More of everything than goes at once: channels, elements of a kernel's row, positions."""
    taps, shape = (2, 3) if kind != "dense" else (1, 1), (4, 5, 15) if kind != "dense" else (1, 1, 37)
    channels = 15 if kind == "depthwise" else 11
    count = channels * taps[0] * taps[1] * (1 if kind == "depthwise" else shape[2])
    return Layer(
        kind=kind,
        input_shape=shape,
        output_shape=(*shape[:2], channels),
        kernel=taps,
        stride=(1, 1),
        pad=(0, 1 if kind != "dense" else 0),
        depth_multiplier=1,
        input_scale=F(0.05),
        input_zero_point=-128,
        output_scale=F(0.25),
        output_zero_point=-128,
        activation="relu",
        weights=rng.integers(-127, 128, count).astype(np.int8),
        bias=rng.integers(-20000, 20000, channels).astype(np.int32),
        weight_scale=rng.uniform(0.001, 0.02, channels).astype(F),
    )


def random_input(rng: np.random.Generator, layer: Layer) -> np.ndarray:
    return rng.integers(-128, 128, layer.input_shape).astype(np.int8)


class CoreTrain:
    """struct cl_train with the memory it points to."""

    def __init__(
        self, layer: Layer, config: Config, memory_bytes: int | None = None, *, small: bool = False
    ) -> None:
        self.ffi, self.lib = train_library(small)
        self.layer = layer
        self.keep: list[Any] = []
        height, width, channels = layer.output_shape
        low, high = activation_range(layer.activation, layer.output_scale, layer.output_zero_point)
        pairs = [self._multiplier(layer, scale) for scale in layer.weight_scale]
        params = self.ffi.new(
            "struct cl_conv_params *",
            {
                "input": layer.input_shape,
                "output": (height, width, channels),
                "kernel_height": layer.kernel[0],
                "kernel_width": layer.kernel[1],
                "stride_height": layer.stride[0],
                "stride_width": layer.stride[1],
                "pad_top": layer.pad[0],
                "pad_left": layer.pad[1],
                "depth_multiplier": layer.depth_multiplier,
                "input_zero_point": layer.input_zero_point,
                "output_zero_point": layer.output_zero_point,
                "activation_min": low,
                "activation_max": high,
                "weights": self._array("int8_t[]", layer.weights),
                "bias": self._array("int32_t[]", layer.bias),
                "multiplier": self._array("int32_t[]", [pair[0] for pair in pairs]),
                "shift": self._array("int8_t[]", [pair[1] for pair in pairs]),
            },
        )
        self.trainable = self.ffi.new(
            "struct cl_trainable *",
            {
                "kind": KINDS.index(layer.kind),
                "optimizer_max": 1,
                "params": params,
                "weight_scale": self._array("float[]", layer.weight_scale),
                "input_scale": float(layer.input_scale),
                "output_scale": float(layer.output_scale),
                "weight_count": layer.weights.size,
                "channel_count": channels,
                "activation": ACTIVATIONS.index(layer.activation),
                "master": MASTERS.index(config.master),
            },
        )
        self.config = self.ffi.new("struct cl_train_config *", self._config(config))
        bytes_needed = self.lib.cl_train_bytes(self.trainable, self.config.optimizer)
        self.bytes = bytes_needed if memory_bytes is None else memory_bytes
        self.memory = self.ffi.new("uint64_t[]", [2**64 - 1] * (self.bytes // 8 + 1))
        self.train = self.ffi.new("struct cl_train *")
        self.gradient = self.ffi.new("uint32_t[]", self.lib.cl_train_gradient_bytes(self.trainable) // 4 + 1)
        self.init_result = self.lib.cl_train_init(
            self.train, self.trainable, self.config, self.memory, self.bytes, self.gradient
        )
        self.keep.append(params)

    @staticmethod
    def _multiplier(layer: Layer, scale: np.float32) -> tuple[int, int]:
        product = float(layer.input_scale) * float(scale)
        if layer.kind == "dense" and layer.channels == 1:
            product = float(F(layer.input_scale * scale))
        pair = quantize_multiplier(product / float(layer.output_scale))
        assert pair is not None
        return pair

    @staticmethod
    def _config(config: Config) -> dict[str, Any]:
        return {
            "optimizer": OPTIMIZERS.index(config.optimizer),
            "momentum": float(config.momentum),
            "beta2": float(config.beta2),
            "epsilon": float(config.epsilon),
        }

    def _array(self, kind: str, values: Any) -> Any:
        array = self.ffi.new(kind, np.asarray(values).reshape(-1).tolist())
        self.keep.append(array)
        return array

    def configure(self, config: Config) -> int:
        return int(
            self.lib.cl_train_configure(
                self.train, self.ffi.new("struct cl_train_config *", self._config(config))
            )
        )

    def forward(self, a: np.ndarray, rows: int | None = None) -> tuple[np.ndarray, int]:
        """Output [positions, channels], some rows at a time (None: at once), and how many are saturated."""
        height, width, channels = self.layer.output_shape
        y = np.full((height, width, channels), 99, np.int8)
        scratch = self.ffi.new("int8_t[]", 65536)
        for first in range(0, height, rows or height):
            part = y[first : first + (rows or height)]
            at, to = self._pointer("int8_t", a), self._pointer("int8_t", part)
            assert self.lib.cl_train_forward(self.train, at, to, scratch, first, len(part)) == 0
        saturated = self.lib.cl_train_saturated(self.train, self._pointer("int8_t", y), y.size)
        return y.reshape(-1, channels), int(saturated)

    def accumulate_row(self, a: np.ndarray, position: int, g: np.ndarray) -> int:
        return int(
            self.lib.cl_train_accumulate(
                self.train, self._pointer("int8_t", a), position, self._pointer("int8_t", g)
            )
        )

    def accumulate(self, a: np.ndarray, g: np.ndarray, saturated: int = 0) -> int:
        """A whole sample; returns the samples in this step."""
        for position, row in enumerate(g):
            assert self.accumulate_row(a, position, np.ascontiguousarray(row)) == 0
        return self.end_sample(saturated)

    def apply(self, gradient_scale: float, rate: float) -> int:
        return int(self.lib.cl_train_apply(self.train, float(gradient_scale), float(rate)))

    def rescale(self, scale: float, zero_point: int) -> int:
        return int(self.lib.cl_train_rescale(self.train, float(scale), zero_point))

    def end_sample(self, saturated: int = 0) -> int:
        return int(self.lib.cl_train_end_sample(self.train, saturated))

    def clear(self) -> None:
        self.lib.cl_train_clear(self.train)

    def read(self, name: str) -> np.ndarray:
        """A copy of one of the state's vectors, in the kernel's layout."""
        weights, channels = self.layer.weights.size, self.layer.channels
        kinds = {"weights": np.int8, "shift": np.int8, "bias": np.int32, "multiplier": np.int32}
        kinds["accumulator"] = np.int32
        dtype = np.dtype(kinds.get(name, np.float32))
        count = {"weights": weights, "master": weights + channels, "moment1": weights + channels}.get(name)
        if name in ("moment2", "accumulator"):
            count = weights + channels
        kept = ("master", "moment1", "moment2")
        if name in kept and not self.train.master:
            halves = self.ffi.buffer(self.train.bfloat16[kept.index(name)], 2 * (weights + channels))
            return (np.frombuffer(bytes(halves), np.uint16).astype(np.uint32) << np.uint32(16)).view(
                np.float32
            )
        buffer = self.ffi.buffer(getattr(self.train, name), (count or channels) * dtype.itemsize)
        return np.frombuffer(bytes(buffer), dtype)

    def image(self) -> bytes:
        """Every byte of the state and of the memory, to see that nothing changed.

        But for the rows that waited, once they are added: their memory is an update's scratch.
        """
        memory = bytearray(self.ffi.buffer(self.memory))
        if not self.train.waiting_count:
            start = int(self.ffi.cast("char *", self.train.waiting) - self.ffi.cast("char *", self.memory))
            count = 16 * -(-self.layer.channels // 4) * 4
            memory[start : start + count] = bytes(count)
        return bytes(self.ffi.buffer(self.train)) + bytes(memory)

    def _pointer(self, kind: str, array: np.ndarray) -> Any:
        return self.ffi.cast(f"{kind} *", self.ffi.from_buffer(array))
