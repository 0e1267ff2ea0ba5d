"""Kernels for Armv7E-M: weights laid out for SMLAD, and where they give the portable kernels' bytes.

The layouts and why they are exact: firmware/lib/cutlayer/src/kernels/armv7em/tile.h.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.ops.packed import (
    packed_add,
    packed_params,
    pair_order,
    requantization,
    whole_words,
    windows_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from cutlayer_converter.ops.lowered import Lowered

# 128 times it is under 2^23: a sum of products that a halfword of two channels can give back.
WEIGHT_SUM_MAX = 65535
# The convolution of plain weights, and what its file, kernels/armv7em/plain.c, takes at a time.
PLAIN = "cl_conv2d_plain_armv7em"
PLAIN_GROUP_BYTES, PLAIN_GROUP_MIN, PLAIN_GROUP_MAX = 512, 4, 8
PLAIN_ROW_BYTES, PLAIN_TILE_POSITIONS = 640, 3


def specialize(lowered: Lowered) -> Lowered:
    """The kernel for Armv7E-M where there is one for this layer, or `lowered` as it is."""
    found = KERNELS.get(lowered.kernel)
    return (found(lowered) if found else None) or lowered


def specialize_trained(lowered: Lowered) -> Lowered:
    """The kernel for Armv7E-M that takes a trainable layer's weights as they are, or `lowered` as it is.

    It lays out weights anew for each row: of one position alone that would take longer.
    """
    if lowered.kernel != "cl_conv2d":
        return lowered
    params = lowered.params
    weights = params["weights"]
    # Requantized weights are at least -127 too.
    fits = int(weights.min()) >= -127 and 127 * weights[0].size <= WEIGHT_SUM_MAX
    if len(weights) < 2 or params["output"][1] < 2 or not fits:
        return lowered
    return replace(lowered, kernel=PLAIN, scratch_bytes=plain_scratch_bytes(params))


def plain_scratch_bytes(params: Mapping[str, Any]) -> int:
    """What PLAIN needs for these cl_conv_params: a group's weights, positions widened, and copied lines."""
    windows = windows_of(params)
    block_bytes, width = 8 * windows.words, params["output"][1]
    pairs = min(max(PLAIN_GROUP_MIN // 2, PLAIN_GROUP_BYTES // block_bytes), PLAIN_GROUP_MAX // 2)
    fits = width > PLAIN_TILE_POSITIONS and block_bytes * width <= PLAIN_ROW_BYTES
    positions = width if fits else PLAIN_TILE_POSITIONS
    return block_bytes * (pairs + positions) + int(params["kernel_height"]) * windows.line_pitch


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


def _conv2d(lowered: Lowered) -> Lowered | None:
    params = lowered.params
    weights = params["weights"]
    channels, height = weights.shape[:2]
    requantized = requantization(lowered, weights.reshape(channels, -1))
    packed = pair_channels(whole_words(weights))
    if channels < 2 or requantized is None or packed is None:
        return None
    windows = windows_of(params)
    return replace(
        lowered,
        kernel="cl_conv2d_armv7em",
        params_type="cl_packed_params",
        params=packed_params(lowered, requantized, params["input"], params["output"])
        | {
            "line_pitch": windows.line_pitch,
            "weights": packed,
            "channels": requantized.table[pair_order(channels)],
        },
        scratch_bytes=24 * windows.words + height * windows.line_pitch,
        in_place=windows.in_place,
    )


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
        params_type="cl_packed_params",
        params=packed_params(lowered, requantized, params["input"], params["output"])
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
        params_type="cl_packed_params",
        params=packed_params(lowered, requantized, params["input"], params["output"])
        | {"line_pitch": 0, "weights": fours.reshape(-1), "channels": requantized.table[order]},
        scratch_bytes=2 * padded.shape[1],
    )


def _add(lowered: Lowered) -> Lowered | None:
    return packed_add(lowered, "cl_add_armv7em")


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


KERNELS: dict[str, Callable[[Lowered], Lowered | None]] = {
    "cl_add": _add,
    "cl_average_pool": _average_pool,
    "cl_conv2d": _conv2d,
    "cl_dense": _dense,
    "cl_depthwise": _depthwise,
}
