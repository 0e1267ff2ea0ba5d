"""The Armv7E-M kernels' requantization, in Python, against gemmlowp's: every sum a layer can have."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from kernel_cases import cases

from cutlayer_converter.ops.armv7em import PLAIN, pair_channels, specialize_trained
from cutlayer_converter.ops.lowered import Lowered
from cutlayer_converter.ops.packed import Channels, pair_order, requantization

INT32 = 2**31
multipliers = st.one_of(st.sampled_from([0, 2**30, 2**31 - 1]), st.integers(2**30, 2**31 - 1))
biases = st.one_of(
    st.integers(-(2**13), 2**13),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([2**30, -(2**30), 2**30 - 1]),
)


def layer(
    multiplier: int, shift: int, bias: int, zero_points: tuple[int, int], low: int, high: int
) -> Lowered:
    params = {
        "bias": np.array([bias], np.int32),
        "multiplier": np.array([multiplier], np.int32),
        "shift": np.array([-shift], np.int8),
        "input_zero_point": zero_points[0],
        "output_zero_point": zero_points[1],
        "activation_min": low,
        "activation_max": high,
    }
    nothing = None
    return Lowered(nothing, "cl_conv2d", "cl_conv_params", params, nothing, None, nothing)  # type: ignore[arg-type]


def gemmlowp(total: int, multiplier: int, shift: int) -> int:
    """SaturatingRoundingDoublingHighMul and RoundingDivideByPOT as they are written."""
    product = total * multiplier
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    high = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)
    mask = (1 << shift) - 1
    return (high >> shift) + int((high & mask) > (mask >> 1) + int(high < 0))


def wrap(value: int) -> int:
    return (value + INT32) % (2 * INT32) - INT32


def instructions(total: int, row: list[int], away: bool) -> int:
    """ADD, SMMLAR, ASR, SSAT; `total` is without the bias."""
    bias, multiplier, rounding, shift = row
    doubled = wrap(2 * total + bias)
    accumulator = rounding - int(away and doubled < 0)
    high = wrap((accumulator * 2**32 + doubled * multiplier + 2**31) >> 32)
    return min(max(high >> shift, -128), 127)


@cases
@given(
    st.tuples(multipliers, st.one_of(st.integers(0, 12), st.integers(0, 31)), biases),
    st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    st.sampled_from(["none", "relu", "relu6"]),
    st.lists(st.integers(-128, 127), min_size=1, max_size=40),
    st.data(),
)
def test_requantization_is_gemmlowps(
    scale: tuple[int, int, int],
    zero_points: tuple[int, int],
    activation: str,
    taps: list[int],
    data: st.DataObject,
) -> None:
    multiplier, shift, bias = scale
    low = -128 if activation == "none" else zero_points[1]
    high = 127 if activation != "relu6" else min(127, zero_points[1] + 60)
    lowered = layer(multiplier, shift, bias, zero_points, low, high)
    weights = np.array([taps], np.int8)
    found: Channels | None = requantization(lowered, weights)
    folded = bias - zero_points[0] * sum(taps)
    reach = 128 * sum(map(abs, taps))
    assume(found is not None)
    assert found is not None
    totals = {-reach, reach, 0, *data.draw(st.lists(st.integers(-reach, reach), max_size=40))}
    if multiplier:
        # Sums whose high half lies at a tie, and beside it.
        for output in data.draw(st.lists(st.integers(-130, 130), max_size=20)):
            middle = ((2 * output + 1) << shift >> 1) * 2**31 // multiplier - folded
            totals |= {total for total in range(middle - 2, middle + 3) if -reach <= total <= reach}
    for total in totals:
        value = gemmlowp(folded + total, multiplier, shift) + zero_points[1]
        ours = min(max(instructions(total, found.table[0].tolist(), found.away), low), high)
        assert ours == min(max(value, low), high), total


def test_dead_channels_are_taken() -> None:
    """Zero weights, a bias of 2^30 and a scale of 2^-28: what training leaves of a channel without input."""
    lowered = layer(2**30 + 12345, 28, 2**30, (-128, -128), -128, 127)
    assert requantization(lowered, np.zeros((1, 64), np.int8)) is not None
    assert requantization(lowered, np.ones((1, 64), np.int8)) is not None


@cases
@given(
    st.tuples(multipliers.filter(bool), st.integers(23, 30)),
    st.integers(-100, 100),
    st.integers(-2000, 2000),
    st.booleans(),
)
def test_a_channel_of_two_outputs_changes_at_the_same_sum(
    scale: tuple[int, int], output: int, offset: int, relu: bool
) -> None:
    multiplier, shift = scale
    bias = ((2 * output + 1) << (shift - 1)) * 2**31 // multiplier + offset
    assume(abs(bias) < INT32 - 6400)
    weights = np.full((1, 50), 1, np.int8)
    lowered = layer(multiplier, shift, bias, (0, 0), 0 if relu else -128, 127)
    found = requantization(lowered, weights)
    assert found is not None
    for total in {*range(-6400, 6401, 97), *range(max(-offset - 3, -6400), -offset + 4), 6400}:
        value = min(max(gemmlowp(bias + total, multiplier, shift), 0 if relu else -128), 127)
        assert max(instructions(total, found.table[0].tolist(), found.away), 0 if relu else -128) == value


def test_no_shift_rounds_nothing_away() -> None:
    """ASR by 0 leaves no half to round, but what is taken from a negative sum would stay."""
    weights = np.ones((1, 4), np.int8)
    assert requantization(layer(2**30, 0, 0, (0, 0), -128, 127), weights) is None
    assert requantization(layer(2**30, 0, 0, (0, 0), 0, 127), weights) is not None


@cases
@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_halfword_gives_both_channels_back(channels: int, blocks: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-127, 128, (channels, 4 * blocks), np.int8)
    packed = pair_channels(weights)
    assert packed is not None
    halves = packed.astype("<i4").view("<i2").reshape(len(packed), blocks, 2, 2).transpose(0, 1, 3, 2)
    second = halves.astype(np.int8)
    first = (halves.astype(np.int32) - second) >> 8
    both = np.stack([first, second], 1).reshape(-1, 4 * blocks)
    np.testing.assert_array_equal(both, weights[pair_order(channels)])


def test_weights_that_do_not_fit_are_refused() -> None:
    assert pair_channels(np.full((2, 4), -128, np.int8)) is None
    assert pair_channels(np.full((2, 520), 127, np.int8)) is None


def trained(width: int, weights: np.ndarray) -> str:
    """The kernel that a trainable 1 x 1 convolution gets."""
    params = {"input": (4, width, weights.shape[3]), "output": (4, width, len(weights)), "weights": weights}
    ones = ("kernel_height", "kernel_width", "stride_height", "stride_width")
    params |= dict.fromkeys(ones, 1) | {"pad_top": 0, "pad_left": 0}
    nothing = None
    lowered = Lowered(nothing, "cl_conv2d", "cl_conv_params", params, nothing, None, nothing)  # type: ignore[arg-type]
    return specialize_trained(lowered).kernel


def test_a_trainable_convolution_has_the_tiles_where_they_are_exact_and_pay() -> None:
    weights = np.full((3, 1, 1, 516), -127, np.int8)
    assert trained(2, weights) == PLAIN
    assert trained(1, weights) == "cl_conv2d"
    assert trained(2, weights[:1]) == "cl_conv2d"
    assert trained(2, np.full((3, 1, 1, 517), 1, np.int8)) == "cl_conv2d"
    weights[2, 0, 0, 515] = -128
    assert trained(2, weights) == "cl_conv2d"
