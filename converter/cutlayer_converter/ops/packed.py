"""What kernels share whose weights are laid out for them: requantization, and windows over copied lines."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cutlayer_converter.ops.lowered import Lowered

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


def pair_order(channels: int) -> NDArray[np.intp]:
    """The channels in the order of their pairs."""
    order = list(range(channels & ~1))
    return np.array(order + ([channels - 2, channels - 1] if channels % 2 else []), np.intp)


@dataclass(frozen=True, slots=True)
class Windows:
    """How a convolution's windows are read.

    Attributes:
        line_pitch: Bytes of a line that is copied to scratch; 0 when windows lie in the input.
        words: Of a window, four inputs each; a line is filled up to whole words.
        in_place: Whether the output may be written over the input.
    """

    line_pitch: int
    words: int
    in_place: bool


def windows_of(params: Mapping[str, Any]) -> Windows:
    """The windows of a convolution with these cl_conv_params."""
    source, output = params["input"], params["output"]
    height, width, depth = params["kernel_height"], params["kernel_width"], source[2]
    pointwise = height == width == params["stride_height"] == params["stride_width"] == 1
    line_words = -(-width * depth // 4)
    pitch = 0
    if _leaves_input(params) or width * depth % 4:
        pitch = line_pitch(output[1], params["stride_width"] * depth, 4 * line_words)
    in_place = stays_behind(params) if pitch else pointwise and output[2] <= depth
    return Windows(pitch, height * line_words, in_place)


def one_row(lowered: Lowered) -> Lowered:
    """A pointwise convolution over one long row: fewer tiles are left over at ends of rows."""
    params = lowered.params
    if lowered.params_type != "cl_packed_params" or lowered.operator.kind != "CONV_2D":
        return lowered
    kept = ("kernel_height", "kernel_width", "stride_height", "stride_width")
    (height, width, depth), channels = params["input"], params["output"][2]
    if params["line_pitch"] or any(params[name] != 1 for name in kept) or height * width > 65535:
        return lowered
    row = {"input": (1, height * width, depth), "output": (1, height * width, channels)}
    return replace(lowered, params={**params, **row})


def line_pitch(windows: int, step_bytes: int, line_bytes: int) -> int:
    """Bytes of a copied line, in whole words: each window in it reads `line_bytes`."""
    return -(-((windows - 1) * step_bytes + line_bytes) // 4) * 4


def _leaves_input(params: Mapping[str, Any]) -> bool:
    over = [
        (result - 1) * stride + kernel - before - size
        for result, stride, kernel, before, size in (
            (
                params["output"][0],
                params["stride_height"],
                params["kernel_height"],
                params["pad_top"],
                params["input"][0],
            ),
            (
                params["output"][1],
                params["stride_width"],
                params["kernel_width"],
                params["pad_left"],
                params["input"][1],
            ),
        )
    ]
    return bool(params["pad_top"] or params["pad_left"] or max(over) > 0)


def stays_behind(params: Mapping[str, Any]) -> bool:
    """Whether a row of outputs ends before the lines that the next one copies to scratch."""
    stride, (_, width, depth), (_, output_width, channels) = (
        params["stride_height"],
        params["input"],
        params["output"],
    )
    ahead = params["kernel_height"] - stride - params["pad_top"]
    return bool(ahead >= 0 and output_width * channels <= stride * width * depth)


def whole_words(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights [channels, height, width, depth] as [channels, bytes], each line filled up to words with 0."""
    channels, height, width, depth = weights.shape
    lines = np.zeros((channels, height, -(-width * depth // 4) * 4), np.int8)
    lines[:, :, : width * depth] = weights.reshape(channels, height, -1)
    return lines.reshape(channels, -1)


def packed_params(
    lowered: Lowered, requantized: Channels, source: tuple[int, int, int], output: tuple[int, int, int]
) -> dict[str, Any]:
    """The fields of cl_packed_params but for the tables."""
    kept = ["kernel_height", "kernel_width", "stride_height", "stride_width", "pad_top", "pad_left"]
    kept += ["input_zero_point", "activation_min", "activation_max"]
    fields = {name: lowered.params[name] for name in kept}
    return {"input": source, "output": output, "away": int(requantized.away), **fields}


def packed_add(lowered: Lowered, kernel: str) -> Lowered | None:
    """The sum by `kernel`, with cl_packed_add_params; None where that arithmetic is not exact."""
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
        kernel=kernel,
        params_type="cl_packed_add_params",
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
