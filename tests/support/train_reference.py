"""The trainable layer in NumPy, written from the formulas in train.h and not from the C code.

float32 operations in the order that train.h gives; integers in int64, so that an overflow of int32 in C would
show. Weights are kept as [channels, taps] whatever the kernel's layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

F = np.float32
BETA2 = F(0.999)
EPSILON = F(1e-7)


@dataclass
class Layer:
    """A converted layer: geometry, int8 weights in the kernel's layout, scales."""

    kind: str  # "conv2d" | "depthwise" | "dense"
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]  # top, left
    depth_multiplier: int
    input_scale: np.float32
    input_zero_point: int
    output_scale: np.float32
    output_zero_point: int
    activation: str  # "none" | "relu" | "relu6"
    weights: np.ndarray  # int8; [o, h, w, i], depthwise [h, w, o]
    bias: np.ndarray  # int32 [o]
    weight_scale: np.ndarray  # float32 [o]

    @property
    def channels(self) -> int:
        return self.output_shape[2]

    def by_channel(self, flat: np.ndarray) -> np.ndarray:
        """Weights in the kernel's layout as [channels, taps]."""
        if self.kind == "depthwise":
            return flat.reshape(-1, self.channels).T
        return flat.reshape(self.channels, -1)

    def by_kernel(self, rows: np.ndarray) -> np.ndarray:
        """The inverse of `by_channel`, flat."""
        return np.ascontiguousarray(rows.T if self.kind == "depthwise" else rows).reshape(-1)

    def patches(self, a: np.ndarray) -> np.ndarray:
        """What each weight sees, zero point subtracted: int64 [positions, channels or 1, taps]."""
        height, width, depth = self.input_shape
        out_height, out_width, _ = self.output_shape
        kernel_height, kernel_width = self.kernel
        top, left = self.pad
        below, right = out_height * self.stride[0] + kernel_height, out_width * self.stride[1] + kernel_width
        centred = a.reshape(height, width, depth).astype(np.int64) - self.input_zero_point
        padded = np.pad(centred, ((top, below), (left, right), (0, 0)))
        rows = []
        for y in range(out_height):
            for x in range(out_width):
                y0, x0 = y * self.stride[0], x * self.stride[1]
                patch = padded[y0 : y0 + kernel_height, x0 : x0 + kernel_width]
                if self.kind == "depthwise":
                    taps = np.repeat(patch, self.depth_multiplier, axis=2)
                    rows.append(taps.reshape(-1, self.channels).T)
                else:
                    rows.append(patch.reshape(1, -1))
        return np.stack(rows)


@dataclass
class Config:
    optimizer: str  # "sgd" | "adam"
    momentum: np.float32
    beta2: np.float32 = BETA2
    epsilon: np.float32 = EPSILON
    master: str = "float32"  # or "bfloat16"


def round_half_away(x: np.ndarray) -> np.ndarray:
    """float32 to integers."""
    wide = np.asarray(x, np.float64)  # every float32 is exact, and so is adding a half to it
    return (np.sign(wide) * np.floor(np.abs(wide) + 0.5)).astype(np.int64)


def mix(x: np.ndarray) -> np.ndarray:
    """MurmurHash3's finalizer, uint32."""
    x = x ^ x >> np.uint32(16)
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ x >> np.uint32(13)
    x = x * np.uint32(0xC2B2AE35)
    return x ^ x >> np.uint32(16)


def to_bfloat16(x: np.ndarray, chance: np.ndarray | int) -> np.ndarray:
    """float32 whose lower half is 0, after adding `chance` to its bits; never infinite."""
    bits = np.ascontiguousarray(x, F).view(np.uint32)
    up = bits + np.asarray(chance, np.uint32)
    kept = np.where((up & np.uint32(0x7F800000)) == 0x7F800000, bits, up)
    return (kept & np.uint32(0xFFFF0000)).view(F)


def nearest_bfloat16(x: np.ndarray) -> np.ndarray:
    return to_bfloat16(
        x, (np.ascontiguousarray(x, F).view(np.uint32) >> np.uint32(16) & np.uint32(1)) + np.uint32(0x7FFF)
    )


def quantize_multiplier(real: float) -> tuple[int, int] | None:
    """TFLite's QuantizeMultiplier through frexp; None where the C code refuses."""
    if real == 0.0:
        return 0, 0
    if not math.isfinite(real) or real < 0:
        return None
    fraction, shift = math.frexp(real)
    fixed = math.floor(fraction * 2.0**31 + 0.5)
    if fixed == 2**31:
        fixed, shift = fixed // 2, shift + 1
    if shift < -31:
        return 0, 0
    return None if shift > 30 else (fixed, shift)


def activation_range(activation: str, scale: np.float32, zero_point: int) -> tuple[int, int]:
    low = -128 if activation == "none" else max(-128, zero_point)
    high = 127
    if activation == "relu6":
        high = min(127, zero_point + int(round_half_away(F(6) / scale)))
    return low, high


@dataclass
class Reference:
    """State of training, as struct cl_train has it."""

    layer: Layer
    config: Config
    w: np.ndarray = field(init=False)  # float32 [channels, taps]
    b: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        layer = self.layer
        self.weights = layer.by_channel(layer.weights.reshape(-1)).copy()
        self.bias = layer.bias.astype(np.int64)
        self.weight_scale = layer.weight_scale.copy()
        self.w = self.weight_scale[:, None] * self.weights.astype(F)
        self.b = (layer.input_scale * self.weight_scale) * self.bias.astype(F)
        self.moments = [np.zeros_like(x) for x in (self.w, self.b, self.w, self.b)]
        self.powers = [F(1), F(1)]
        if self.config.master == "bfloat16":
            self.w, self.b = nearest_bfloat16(self.w), nearest_bfloat16(self.b)
        self.step = 0
        self.output_scale = layer.output_scale
        self.output_zero_point = layer.output_zero_point
        self.set_multipliers()
        self.clear()

    def clear(self) -> None:
        self.dw = np.zeros(self.w.shape, np.int64)
        self.db = np.zeros(self.b.shape, np.int64)

    def set_multipliers(self) -> None:
        layer = self.layer
        pairs = []
        for scale in self.weight_scale:
            product = float(layer.input_scale) * float(scale)
            if layer.kind == "dense" and layer.channels == 1:
                product = float(F(layer.input_scale * scale))
            pairs.append(quantize_multiplier(product / float(self.output_scale)))
        assert all(pairs)
        self.multiplier = np.array([pair[0] for pair in pairs], np.int64)
        self.shift = np.array([pair[1] for pair in pairs], np.int64)

    def forward(self, a: np.ndarray) -> np.ndarray:
        """int8 [positions, channels]."""
        acc = (self.layer.patches(a) * self.weights.astype(np.int64)).sum(-1) + self.bias
        left, right = np.maximum(self.shift, 0), np.maximum(-self.shift, 0)
        product = (acc << left) * self.multiplier
        nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
        high = np.sign(product + nudge) * (np.abs(product + nudge) >> 31)
        mask = (np.int64(1) << right) - 1
        threshold = (mask >> 1) + (high < 0)
        scaled = (high >> right) + ((high & mask) > threshold)
        low, top = activation_range(self.layer.activation, self.output_scale, self.output_zero_point)
        return np.clip(scaled + self.output_zero_point, low, top).astype(np.int8)

    def saturated(self, y: np.ndarray) -> int:
        count = 0
        if self.layer.activation == "none":
            count += int((y == -128).sum())
        six = self.output_zero_point + float(round_half_away(F(6) / self.output_scale))
        if self.layer.activation != "relu6" or six > 127:
            count += int((y == 127).sum())
        return count

    def accumulate(self, a: np.ndarray, g: np.ndarray) -> None:
        """g int8 [positions, channels]."""
        wide = g.astype(np.int64)
        self.dw += (wide[:, :, None] * self.layer.patches(a)).sum(0)
        self.db += wide.sum(0)

    def apply(self, gradient_scale: np.float32, rate: np.float32) -> None:
        config = self.config
        factor = gradient_scale * self.layer.input_scale
        gradients = (
            self.dw.astype(np.int32).astype(F) * factor,
            self.db.astype(np.int32).astype(F) * gradient_scale,
        )
        assert np.array_equal(self.dw, self.dw.astype(np.int32))
        one = F(1)
        if config.optimizer == "adam":
            self.powers = [self.powers[0] * config.momentum, self.powers[1] * config.beta2]
            rate = (rate * np.sqrt(one - self.powers[1])) / (one - self.powers[0])
        for i, gradient in enumerate(gradients):
            m1, m2, value = self.moments[i], self.moments[i + 2], (self.w, self.b)[i]
            if config.optimizer == "sgd":
                m1 = config.momentum * m1 + gradient
                value = value - rate * m1
            else:
                m1 = config.momentum * m1 + (one - config.momentum) * gradient
                m2 = config.beta2 * m2 + (one - config.beta2) * (gradient * gradient)
                value = value - (rate * m1) / (np.sqrt(m2) + config.epsilon)
            self.moments[i], self.moments[i + 2] = m1, m2
            if i == 0:
                self.w = value
            else:
                self.b = value
        self.requantize()
        if config.master == "bfloat16":
            self.narrow()
        self.step += 1
        self.clear()

    def narrow(self) -> None:
        """Rounds what is kept, by the chance of this step and of each parameter's place in the kernel."""
        count = self.w.size
        places = (
            self.layer.by_channel(np.arange(count, dtype=np.uint32)),
            np.arange(count, count + self.b.size, dtype=np.uint32),
        )
        for i, place in enumerate(places):
            chance = mix(mix(np.full(1, self.step, np.uint32)) + place)
            low, high = chance & np.uint32(0xFFFF), chance >> np.uint32(16)
            if i == 0:
                self.w = to_bfloat16(self.w, low)
            else:
                self.b = to_bfloat16(self.b, low)
            self.moments[i] = to_bfloat16(self.moments[i], high)
            if self.config.optimizer == "adam":
                self.moments[i + 2] = to_bfloat16(self.moments[i + 2], mix(chance) & np.uint32(0xFFFF))

    def requantize(self) -> None:
        for_weights = np.abs(self.w).max(1) / F(127)
        for_bias = np.abs(self.b) / (self.layer.input_scale * F(2**30))
        self.weight_scale = np.maximum(np.maximum(for_weights, for_bias), F(2**-40))
        self.weights = round_half_away(self.w / self.weight_scale[:, None]).astype(np.int8)
        self.bias = round_half_away(self.b / (self.layer.input_scale * self.weight_scale))
        self.set_multipliers()

    def rescale(self, scale: np.float32, zero_point: int) -> None:
        self.output_scale, self.output_zero_point = scale, zero_point
        self.set_multipliers()
