"""Kernels for processors that multiply 32 x 32 bits and add to 64 in one instruction: two products each.

Why they are exact: firmware/lib/cutlayer/src/kernels/long/product.h.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.ops.packed import (
    Channels,
    line_pitch,
    packed_add,
    packed_params,
    pair_order,
    requantization,
    stays_behind,
    whole_words,
    windows_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cutlayer_converter.ops.lowered import Lowered

# Of the middle field with its sign, and of the lower field.
MIDDLE_MAX = 2**23 - 1
LOWER_MAX = 2**24 - 1
# A channel's nine weights in the depthwise kernel, filled up to words.
DEPTHWISE_BYTES = 12


def specialize(lowered: Lowered) -> Lowered:
    """The kernel with long multiplications where there is one for this layer, or `lowered` as it is."""
    found = KERNELS.get(lowered.kernel)
    return (found(lowered) if found else None) or lowered


def unsigned_words(weights: NDArray[np.int8]) -> NDArray[np.int32] | None:
    """Weights [channels, bytes] as words of bytes w + 128, the first one lowest, an even number of them.

    None where a sum of products could leave its field.
    """
    channels, count = weights.shape
    filled = np.zeros((channels, -(-count // 8) * 8), np.int8)
    filled[:, :count] = weights
    wide = filled.astype(np.int64)
    middle = 255 * np.abs(wide).sum(1)
    lower = 255 * (wide[:, 0::2] + 128).sum(1)
    if int(middle.max()) > MIDDLE_MAX or int(lower.max()) > LOWER_MAX:
        return None
    return np.ascontiguousarray((filled.view(np.uint8) ^ 0x80).view("<i4"))


def channel_table(requantized: Channels, offsets: NDArray[np.int64] | int) -> NDArray[np.int32]:
    """The channels' table with 128 in the rounding, and `offsets` off the bias.

    The bias wraps, as the kernels' sums do; the rounding does not: with what a shift of at most SHIFT_MAX
    leaves of a product's high half, 255.5 << 22 still fits.
    """
    table = requantized.table.astype(np.int64)
    table[:, 0] -= 2 * offsets
    table[:, 2] += 128 << table[:, 3]
    return table.astype(np.int32)


def _add(lowered: Lowered) -> Lowered | None:
    return packed_add(lowered, "cl_add_long")


def _conv2d(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    weights = params["weights"].reshape(params["weights"].shape[0], -1)
    requantized = requantization(lowered, weights)
    packed = unsigned_words(whole_words(params["weights"]))
    if requantized is None or packed is None:
        return None
    windows = windows_of(params)
    return _packed(
        lowered,
        "cl_conv2d_long",
        packed_params(lowered, requantized, params["input"], params["output"])
        | {
            "line_pitch": windows.line_pitch,
            "weights": packed,
            "channels": channel_table(requantized, 128 * weights.astype(np.int64).sum(1)),
        },
        scratch_bytes=24 * packed.shape[1] + params["kernel_height"] * windows.line_pitch,
        in_place=windows.in_place,
    )


def _depthwise(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    _, height, width, channels = params["weights"].shape
    if height != 3 or width != 3 or params["depth_multiplier"] != 1:
        return None
    weights = params["weights"].reshape(9, channels).T
    requantized = requantization(lowered, weights)
    if requantized is None:
        return None
    filled = np.zeros((channels, DEPTHWISE_BYTES), np.int8)
    filled[:, :9] = weights
    pitch = line_pitch(params["output"][1], params["stride_width"] * channels, 3 * channels)
    return _packed(
        lowered,
        "cl_depthwise_long",
        packed_params(lowered, requantized, params["input"], params["output"])
        | {"line_pitch": pitch, "weights": filled.view("<i4"), "channels": channel_table(requantized, 0)},
        scratch_bytes=3 * pitch,
        in_place=stays_behind(params),
    )


def _dense(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    weights = params["weights"]
    channels = len(weights)
    requantized, packed = requantization(lowered, weights), unsigned_words(weights)
    if channels < 2 or requantized is None or packed is None:
        return None
    order = pair_order(channels)
    words = packed.shape[1]
    pairs = np.ascontiguousarray(packed[order].reshape(-1, 2, words).transpose(0, 2, 1))
    table = channel_table(requantized, 128 * weights.astype(np.int64).sum(1))
    return _packed(
        lowered,
        "cl_dense_long",
        packed_params(lowered, requantized, params["input"], params["output"])
        | {"line_pitch": 0, "weights": pairs, "channels": table[order]},
        scratch_bytes=8 * words,
        in_place=False,
    )


def _packed(
    lowered: Lowered, kernel: str, params: dict[str, Any], *, scratch_bytes: int, in_place: bool
) -> Lowered:
    return replace(
        lowered,
        kernel=kernel,
        params_type="cl_packed_params",
        params=params,
        scratch_bytes=scratch_bytes,
        in_place=in_place,
    )


KERNELS: dict[str, Callable[[Lowered], Lowered | None]] = {
    "cl_add": _add,
    "cl_conv2d": _conv2d,
    "cl_dense": _dense,
    "cl_depthwise": _depthwise,
}
