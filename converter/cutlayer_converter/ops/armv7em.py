"""Kernels for Armv7E-M: weights laid out for SMLAD, and where they give the portable kernels' bytes.

The layouts and why they are exact: firmware/lib/cutlayer/src/kernels/armv7em/tile.h.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from cutlayer_converter.ops.lowered import Lowered

# 128 times it is under 2^23: a sum of products that a halfword of two channels can give back.
WEIGHT_SUM_MAX = 65535
# Twice a sum with its bias fits int32.
SUM_MAX = 2**30 - 1
# The shifted zero point, the rounding and a product's high half fit int32 together.
SHIFT_MAX = 22


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """The requantization of a layer's output channels.

    Attributes:
        table: int32 [channels, 4]: 2 * bias with the input's zero point folded in, multiplier, rounding with
            the output's zero point, right shift.
        away: Whether halves must be rounded away from zero.
    """

    table: NDArray[np.int32]
    away: bool


def specialize(lowered: Lowered, *, rows: bool = False) -> Lowered:
    """The kernel for Armv7E-M where there is one for this layer, or `lowered` as it is."""
    found = KERNELS.get(lowered.kernel)
    special = (found(lowered) if found else None) or lowered
    if not rows and special.kernel == "cl_conv2d_armv7em":
        return replace(special, params=_one_row(special.params))
    return special


def _one_row(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pointwise convolution over one long row: fewer tiles are left over at ends of rows."""
    kept = ("kernel_height", "kernel_width", "stride_height", "stride_width")
    (height, width, depth), channels = params["input"], params["output"][2]
    if params["line_pitch"] or any(params[name] != 1 for name in kept) or height * width > 65535:
        return params
    return {**params, "input": (1, height * width, depth), "output": (1, height * width, channels)}


def requantization(lowered: Lowered, weights: NDArray[np.int8]) -> Channels | None:
    """The channels' table for weights [channels, taps]; None where the fast arithmetic is not exact."""
    params = lowered.params
    wide = weights.astype(np.int64)
    reach = 128 * np.abs(wide).sum(1)
    biases = params["bias"].astype(np.int64) - params["input_zero_point"] * wide.sum(1)
    zero_point = int(params["output_zero_point"])
    away = int(params["activation_min"]) < zero_point
    table = []
    for channel, bias in enumerate(biases.tolist()):
        multiplier, shift = int(params["multiplier"][channel]), -int(params["shift"][channel])
        limit = int(reach[channel])
        row: list[int] | None
        if abs(bias) + limit <= SUM_MAX and int(away) <= shift <= SHIFT_MAX:
            rounding = ((1 << shift) >> 1) + (zero_point << shift)
            row = [2 * bias, multiplier, rounding, shift]
        else:
            row = _steps(params, bias, limit, multiplier, shift)
        if row is None:
            return None
        table.append(row)
    return Channels(np.array(table, np.int32), away)


def _steps(params: Mapping[str, Any], bias: int, reach: int, multiplier: int, shift: int) -> list[int] | None:
    """A channel with one output, or two that are one apart: dead channels have huge biases or tiny scales."""

    def output(total: int) -> int:
        value = _multiply(total, multiplier, shift) + int(params["output_zero_point"])
        return min(max(value, int(params["activation_min"])), int(params["activation_max"]))

    low, high = bias - reach, bias + reach
    if shift < 0 or low < -(2**31) or high >= 2**31 or not 0 <= output(high) - output(low) <= 1:
        return None
    if output(low) == output(high):
        return [0, 0, 2 * output(low) + 1, 1]
    threshold = low + bisect_left(range(low, high), output(high), key=output)
    steps = (high - low + 1).bit_length()
    # (2^31 - 1) / 2^31 of a number below 2^30, rounded, is that number.
    return None if steps > SHIFT_MAX else [2 * (bias - threshold), 2**31 - 1, output(high) << steps, steps]


def _multiply(value: int, multiplier: int, shift: int) -> int:
    """cl_multiply of requantize.h, for a right shift."""
    high = (value * multiplier + (1 << 30)) >> 31
    return (high + ((1 << shift) >> 1) - int(shift > 0 and high < 0)) >> shift


def pair_channels(weights: NDArray[np.int8]) -> NDArray[np.int32] | None:
    """Weights [channels, blocks of four] as [pairs, words]: two channels a halfword; inputs (0, 2), (1, 3).

    With an odd number of channels the last one comes in a pair with the one before it. None where two
    channels do not fit a halfword.
    """
    wide = weights.astype(np.int32)
    if int(wide.min()) < -127 or int(np.abs(wide).sum(1).max()) > WEIGHT_SUM_MAX:
        return None
    first, second = wide[pair_order(len(wide))].reshape(-1, 2, wide.shape[1]).transpose(1, 0, 2)
    halves = (256 * first + second).astype(np.int16).reshape(len(first), -1, 2, 2)
    return np.ascontiguousarray(halves.transpose(0, 1, 3, 2)).view("<i4").reshape(len(first), -1)


def pair_order(channels: int) -> NDArray[np.intp]:
    """The channels in the order of their pairs."""
    order = list(range(channels & ~1))
    return np.array(order + ([channels - 2, channels - 1] if channels % 2 else []), np.intp)


def _conv2d(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    weights = params["weights"]
    channels, height, width, depth = weights.shape
    requantized = requantization(lowered, weights.reshape(channels, -1))
    line_bytes = width * depth
    words = -(-line_bytes // 4)
    lines = np.zeros((channels, height, 4 * words), np.int8)
    lines[:, :, :line_bytes] = weights.reshape(channels, height, line_bytes)
    packed = pair_channels(lines.reshape(channels, -1))
    if channels < 2 or requantized is None or packed is None:
        return None
    source, output = params["input"], params["output"]
    pointwise = height == width == params["stride_height"] == params["stride_width"] == 1
    over = [
        (result - 1) * stride + kernel - before - size
        for result, stride, kernel, before, size in (
            (output[0], params["stride_height"], height, params["pad_top"], source[0]),
            (output[1], params["stride_width"], width, params["pad_left"], source[1]),
        )
    ]
    padded = params["pad_top"] or params["pad_left"] or max(over) > 0
    pitch = 0
    if padded or line_bytes % 4:
        # Whole words of the last window's line may be read.
        reach = ((output[1] - 1) * params["stride_width"] * depth) + 4 * words
        pitch = -(-reach // 4) * 4
    return replace(
        lowered,
        kernel="cl_conv2d_armv7em",
        params_type="cl_conv_armv7em_params",
        params=_params(lowered, requantized, source, output)
        | {"line_pitch": pitch, "weights": packed, "channels": requantized.table[pair_order(channels)]},
        scratch_bytes=24 * words * height + height * pitch,
        in_place=_stays_behind(params, pitch) if pitch else pointwise and channels <= depth,
    )


def _stays_behind(params: Mapping[str, Any], pitch: int) -> bool:
    """Whether a row of outputs ends before the lines that the next one copies to scratch."""
    stride, (_, width, depth), (_, output_width, channels) = (
        params["stride_height"],
        params["input"],
        params["output"],
    )
    ahead = params["kernel_height"] - stride - params["pad_top"]
    return pitch > 0 and ahead >= 0 and output_width * channels <= stride * width * depth


def _depthwise(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    weights = params["weights"]
    _, height, width, channels = weights.shape
    requantized = requantization(lowered, weights.reshape(9, channels).T) if height == width == 3 else None
    stride = params["stride_height"]
    if requantized is None or stride != params["stride_width"] or stride > 2:
        return None
    if params["depth_multiplier"] != 1 or channels % 4:
        return None
    rows = params["output"][0]
    pairs = 1 + (rows + 1) // 2 if stride == 1 else 1 + rows
    return replace(
        lowered,
        kernel="cl_depthwise_armv7em",
        params_type="cl_conv_armv7em_params",
        params=_params(lowered, requantized, params["input"], params["output"])
        | {"line_pitch": 0, "weights": weights.reshape(-1).view("<i4"), "channels": requantized.table},
        scratch_bytes=4 * (4 * 10 + 4 * 3 * pairs),
        in_place=stride == 1 and params["input"] == params["output"],
    )


def _dense(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    weights = params["weights"]
    channels, depth = weights.shape
    requantized = requantization(lowered, weights)
    padded = np.zeros((channels, -(-depth // 4) * 4), np.int8)
    padded[:, :depth] = weights
    order = list(range(channels & ~3)) + (list(range(channels - 4, channels)) if channels % 4 else [])
    rows = params["input"][1]
    if channels < 4 or requantized is None or (rows > 1 and depth % 4):
        return None
    packed = pair_channels(padded[order])
    if packed is None:
        return None
    # [fours, pair, block, 2] to [fours, block, pair, 2]: both pairs of a four side by side.
    fours = np.ascontiguousarray(packed.reshape(len(packed) // 2, 2, -1, 2).transpose(0, 2, 1, 3))
    return replace(
        lowered,
        kernel="cl_dense_armv7em",
        params_type="cl_conv_armv7em_params",
        params=_params(lowered, requantized, params["input"], params["output"])
        | {"line_pitch": 0, "weights": fours.reshape(-1), "channels": requantized.table[order]},
        scratch_bytes=2 * padded.shape[1],
    )


def _add(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    second_is_half = (params["second_multiplier"], params["second_shift"]) == (2**30, 0)
    if not second_is_half and (params["input_multiplier"], params["input_shift"]) != (2**30, 0):
        return None
    half, other = ("second", "input") if second_is_half else ("input", "second")
    shift, output_shift = -params[f"{other}_shift"], -params["output_shift"]
    if params["second_count"] != params["count"] or params["constant"] is not None:
        return None
    if shift == 0 and params[f"{other}_multiplier"] == 2**30:
        # A half too. Times (2^31 - 1) / 2^31, rounded, it stays itself; then comes half of it.
        multiplier, rounding, shift = 2**31 - 1, 1, 1
    elif 1 <= shift <= 28:
        multiplier, rounding = params[f"{other}_multiplier"], 1 << (shift - 1)
    else:
        return None
    if not 1 <= output_shift <= SHIFT_MAX:
        return None
    return replace(
        lowered,
        kernel="cl_add_armv7em",
        params_type="cl_add_armv7em_params",
        params={
            "count": params["count"],
            "zero": -params[f"{other}_zero_point"] * 2**21,
            "half_zero": -params[f"{half}_zero_point"] * 2**19,
            "multiplier": multiplier,
            "rounding": rounding,
            "shift": shift,
            "output_multiplier": params["output_multiplier"],
            "output_rounding": (1 << (output_shift - 1)) + (params["output_zero_point"] << output_shift),
            "output_shift": output_shift,
            "second_is_half": int(second_is_half),
            "activation_min": params["activation_min"],
            "activation_max": params["activation_max"],
        },
    )


def _average_pool(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    height, width, channels = params["input"]
    whole = params["output"][:2] == (1, 1) and (params["window_height"], params["window_width"]) == (
        height,
        width,
    )
    if not whole or params["pad_top"] or params["pad_left"] or height * width > 255 or channels % 4:
        return None
    return replace(lowered, kernel="cl_average_pool_armv7em")


def _params(
    lowered: Lowered, requantized: Channels, source: tuple[int, int, int], output: tuple[int, int, int]
) -> dict[str, Any]:
    """The fields of cl_conv_armv7em_params but for the tables."""
    kept = ["kernel_height", "kernel_width", "stride_height", "stride_width", "pad_top", "pad_left"]
    kept += ["input_zero_point", "activation_min", "activation_max"]
    fields = {name: lowered.params[name] for name in kept}
    return {"input": source, "output": output, "away": int(requantized.away), **fields}


KERNELS: dict[str, Callable[[Lowered], Lowered | None]] = {
    "cl_add": _add,
    "cl_average_pool": _average_pool,
    "cl_conv2d": _conv2d,
    "cl_dense": _dense,
    "cl_depthwise": _depthwise,
}
