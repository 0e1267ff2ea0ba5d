"""Real multipliers as TFLite's fixed point: multiplier * 2^(shift - 31).

Source: TensorFlow Lite Micro, QuantizeMultiplier and CalculateActivationRangeQuantized.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Activation = Literal["none", "relu", "relu6"]

# FusedActivation of TFLite's schema that the firmware knows.
ACTIVATIONS: dict[int, Activation] = {0: "none", 1: "relu", 3: "relu6"}


def quantize_multiplier(real: float) -> tuple[int, int]:
    """The multiplier (0, or 2^30 to 2^31 - 1) and shift of a real number >= 0; left shifts are positive."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def quantize_multipliers(reals: Iterable[float]) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """One multiplier and shift a channel."""
    pairs = [quantize_multiplier(real) for real in reals]
    multipliers = np.array([multiplier for multiplier, _ in pairs], np.int32)
    return multipliers, np.array([shift for _, shift in pairs], np.int8)


def activation_range(activation: Activation, scale: np.float32, zero_point: int) -> tuple[int, int]:
    """The clamped ends of an int8 output with a fused activation of ACTIVATIONS."""
    low = -128 if activation == "none" else max(-128, zero_point)
    high = 127
    if activation == "relu6":
        high = min(127, zero_point + round_half_away(np.float32(6.0) / scale))
    return low, high


def round_half_away(value: np.float32) -> int:
    """C's roundf of a positive number."""
    return math.floor(float(value) + 0.5)
