"""The trainable layer at its limits: overflow, values that are not finite, scales, memory, rounding."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from train_layer import CoreTrain, random_input, random_layer, train_library
from train_reference import Config, F, Reference, activation_range, quantize_multiplier, round_half_away

SGD, ADAM = Config("sgd", F(0.9)), Config("adam", F(0.9))
CL_ERROR_ARGUMENT, CL_ERROR_MEMORY, CL_ERROR_VALUE, CL_ERROR_OVERFLOW = -1, -2, -6, -11
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def layer_of(seed: int, kind: str = "conv2d", activation: str = "none", **changes: object):
    layer = random_layer(np.random.default_rng(seed), kind, activation)
    for name, value in changes.items():
        setattr(layer, name, value)
    return layer


def multiplier_of(a: float, b: float, c: float) -> tuple[int, int] | None:
    ffi, lib = train_library()
    multiplier, shift = ffi.new("int32_t *", 77), ffi.new("int8_t *", 77)
    result = lib.cl_quantize_multiplier(a, b, c, multiplier, shift)
    assert result in (0, CL_ERROR_VALUE)
    if result < 0:
        assert (multiplier[0], shift[0]) == (77, 77)
        return None
    return multiplier[0], shift[0]


scales = st.floats(min_value=0, width=32, allow_nan=False, allow_infinity=False)
typical = st.floats(min_value=2**-20, max_value=2**10, width=32)


@settings(max_examples=2000, deadline=None)
@given(st.one_of(scales, typical), st.one_of(scales, typical), st.one_of(scales, typical))
@example(0.0, 1.0, 1.0)
@example(2.0**-126, 2.0**-126, 2.0**-149)
@example(2.0**-100, 2.0**-49, 2.0**-117)  # 2^-32
@example(1.0, 1.0, 2.0**33)  # below it
@example(1 - 2.0**-24, 2.0**-31, 1.0)  # rounds up to 2^-32 and stays: frexp's exponent is -31
@example(2.0**30, 1 - 2.0**-24, 1.0)
@example(2.0**30, 1.0, 1.0)
@example(1.0, 1 + 2.0**-23, 1 - 2.0**-24)
def test_quantize_multiplier_is_tflites_of_doubles(a: float, b: float, c: float) -> None:
    expected = quantize_multiplier(a * b / c) if c > 0 else None
    assert multiplier_of(a, b, c) == expected


def test_quantize_multiplier_where_a_double_rounds_to_a_half() -> None:
    """Quotients a hair below halfway between two multipliers: TFLite rounds twice, so up; and so do we."""
    rng = np.random.default_rng(5)
    tried = 0
    for first, divisor in rng.integers(2**23, 2**24, (400, 2)).tolist():
        if math.gcd(divisor, 2 * first) != 1:
            continue
        # first * second / divisor = (odd - 1 / divisor) / 2^8, and odd / 2 is halfway.
        odd = pow(divisor, -1, first << 8)
        second = (odd * divisor - 1) // (first << 8)
        if odd < 2**31 or second < 2**23:
            continue
        tried += 1
        multiplier, shift = quantize_multiplier(float(first) * float(second) / float(divisor))
        assert multiplier == (odd + 1) // 2 > Fraction(first * second * 2**7, divisor) + Fraction(1, 2)
        for scale in (1.0, 2.0**-40, 2.0**4):
            found = multiplier_of(float(first), second * scale, float(divisor))
            assert found == (multiplier, shift + int(math.log2(scale)))
    assert tried > 10


@pytest.mark.parametrize("wrong", [-1.0, -0.5, math.inf, math.nan])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_quantize_multiplier_refuses_what_is_no_scale(wrong: float, place: int) -> None:
    values = [1.0, 0.5, 2.0]
    values[place] = wrong
    assert multiplier_of(*values) is None
    assert multiplier_of(1.0, 0.5, 0.0) is None


@settings(max_examples=2000, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), floats.filter(bool))
@example(2.0**-126, 1 + 2.0**-23)
@example(-(2.0**-126), 2.0**24)
@example(2.0**-149, 2.0)
@example(2.0**-149, -2.0 + 2.0**-23)
@example(3 * 2.0**-149, 2.0)
def test_quotients_below_the_normal_ones_are_ieee_754s(x: float, y: float) -> None:
    """AVR's own division truncates those; the integers that stand in for it are tested here."""
    _, lib = train_library()
    small = x * 2.0**-140 if abs(x) > 2.0**-100 and abs(y) < 2.0**60 else x
    small = float(F(small))
    expected = np.divide(F(small), F(y))
    assume(abs(expected) < 2.0**-126)
    found = F(lib.cl_divide_to_subnormal(small, y))
    assert found.tobytes() == expected.tobytes()


@settings(max_examples=300, deadline=None)
@given(st.floats(-(2.0**29), 2.0**29, width=32), st.sampled_from([1.0, 0.5, 2.0, 3.0]))
def test_rounding_is_half_away_from_zero(x: float, scale: float) -> None:
    _, lib = train_library()
    assert lib.cl_quantize(x, scale) == int(round_half_away(F(x) / F(scale)))


@pytest.mark.parametrize("x", [0.5, -0.5, 1.5, -2.5, 0.49999997, -0.49999997, 126.5, 8388607.5, 16777217.0])
def test_rounding_of_halves(x: float) -> None:
    _, lib = train_library()
    expected = math.copysign(math.floor(abs(np.float64(F(x))) + 0.5), x)
    assert lib.cl_quantize(x, 1.0) == expected


def test_accumulator_takes_rows_max_rows_and_no_more() -> None:
    layer = layer_of(1, "dense", input_zero_point=-128)
    core = CoreTrain(layer, SGD)
    rows = core.lib.cl_train_rows_max(core.trainable)
    assert rows == (2**31 - 1) // (128 * 255)
    a = np.full(layer.input_shape, 127, np.int8)
    g = np.full(layer.channels, -128, np.int8)
    pointer_a, pointer_g = core._pointer("int8_t", a), core._pointer("int8_t", g)
    for _ in range(rows):
        assert core.lib.cl_train_accumulate(core.train, pointer_a, 0, pointer_g) == 0
    core.end_sample()
    full = core.image()
    assert core.lib.cl_train_accumulate(core.train, pointer_a, 0, pointer_g) == CL_ERROR_OVERFLOW
    assert core.image() == full
    accumulated = core.read("accumulator")
    assert (accumulated[: layer.weights.size] == -128 * 255 * rows).all()
    core.clear()
    assert core.lib.cl_train_accumulate(core.train, pointer_a, 0, pointer_g) == 0


def test_a_position_outside_the_output_is_refused() -> None:
    layer = layer_of(2)
    core = CoreTrain(layer, SGD)
    before = core.image()
    positions = layer.output_shape[0] * layer.output_shape[1]
    g = np.ones(layer.channels, np.int8)
    a = np.ones(layer.input_shape, np.int8)
    for position in (positions, positions + 1, 2**32 - 1):
        assert core.accumulate_row(a, position, g) == CL_ERROR_ARGUMENT
    assert core.image() == before


@pytest.mark.parametrize("config", [SGD, ADAM])
@pytest.mark.parametrize(
    ("scale", "rate"),
    [
        *((0, 1), (-1, 1), (math.nan, 1), (math.inf, 1), (3e38, 1), (3e38, 3e38)),
        *((1, 0), (1, -1), (1, math.nan), (1, math.inf), (1, 3e38)),
    ],
)
def test_an_update_that_cannot_be_changes_nothing(config: Config, scale: float, rate: float) -> None:
    layer = layer_of(3)
    core = CoreTrain(layer, config)
    rng = np.random.default_rng(0)
    g = rng.integers(-127, 128, (layer.output_shape[0] * layer.output_shape[1], layer.channels))
    core.accumulate(random_input(rng, layer), g.astype(np.int8))
    before = core.image()
    assert core.apply(scale, rate) == CL_ERROR_VALUE
    assert core.image() == before
    assert core.apply(1e-4, 1e-3) == 0


def test_only_the_second_moment_overflows_and_nothing_changed() -> None:
    """The weight would stay as it is: what it moves by is divided by infinity."""
    layer = layer_of(3)
    core = CoreTrain(layer, ADAM)
    g = np.ones((layer.output_shape[0] * layer.output_shape[1], layer.channels), np.int8)
    core.accumulate(np.full(layer.input_shape, 100, np.int8), g)
    before = core.image()
    assert core.apply(1e22, 1e-3) == CL_ERROR_VALUE
    assert core.image() == before


def test_only_the_last_weight_overflows_and_nothing_changed() -> None:
    """The check pass sees all channels before the first one is kept."""
    layer = layer_of(4, "depthwise")
    core = CoreTrain(layer, SGD)
    g = np.ones((layer.output_shape[0] * layer.output_shape[1], layer.channels), np.int8)
    core.accumulate(np.full(layer.input_shape, 100, np.int8), g)
    core.train.master[layer.weights.size + layer.channels - 1] = 3.4e38
    core.train.moment1[layer.weights.size + layer.channels - 1] = -3.4e38
    before = core.image()
    assert core.apply(1e-3, 1.0) == CL_ERROR_VALUE
    assert core.image() == before


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), floats.filter(lambda x: x > 0), floats.filter(lambda x: x > 0), st.booleans())
def test_any_update_either_equals_numpy_or_is_refused(
    seed: int, scale: float, rate: float, adam: bool
) -> None:
    rng = np.random.default_rng(seed)
    layer, config = random_layer(rng, "conv2d"), ADAM if adam else SGD
    core = CoreTrain(layer, config)
    a = random_input(rng, layer)
    g = rng.integers(-127, 128, (layer.output_shape[0] * layer.output_shape[1], layer.channels))
    core.accumulate(a, g.astype(np.int8))
    before = core.image()
    if core.apply(scale, rate) == 0:
        reference = Reference(layer, config)
        reference.accumulate(a, g.astype(np.int8))
        with np.errstate(under="ignore"):
            reference.apply(F(scale), F(rate))
        np.testing.assert_array_equal(core.read("weights"), layer.by_kernel(reference.weights))
        np.testing.assert_array_equal(core.read("bias"), reference.bias)
        np.testing.assert_array_equal(core.read("master")[: layer.weights.size], layer.by_kernel(reference.w))
        assert np.isfinite(core.read("master")).all()
    else:
        assert core.image() == before


def test_a_channel_of_zeros_keeps_a_scale_and_gives_the_zero_point() -> None:
    layer = layer_of(5, "conv2d")
    weights = layer.by_channel(layer.weights).copy()
    weights[0] = 0
    layer.weights, layer.bias[0] = layer.by_kernel(weights), 0
    core = CoreTrain(layer, SGD)
    assert core.apply(1e-3, 1e-3) == 0
    assert core.read("weight_scale")[0] == F(2**-40)
    y, _ = core.forward(random_input(np.random.default_rng(1), layer))
    assert (y[:, 0] == layer.output_zero_point).all()


def test_a_bias_beyond_its_weights_still_fits_int32() -> None:
    layer = layer_of(6, "dense")
    core = CoreTrain(layer, SGD)
    last = layer.weights.size
    for k in range(layer.weights.size):
        core.train.master[k] = 1e-9
    core.train.master[last] = 1000.0
    core.train.master[last + 1] = -1000.0
    assert core.apply(1e-3, 1e-3) == 0
    bias, scale = core.read("bias"), core.read("weight_scale")
    assert bias[0] == pytest.approx(2**30, rel=1e-6)
    assert bias[1] == -bias[0]
    assert bias[0] * float(scale[0]) * float(layer.input_scale) == pytest.approx(1000.0, rel=1e-6)


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_rescale_moves_range_and_multipliers(activation: str) -> None:
    rng = np.random.default_rng(11)
    layer = random_layer(rng, "conv2d", activation)
    core, reference = CoreTrain(layer, SGD), Reference(layer, SGD)
    for scale, zero_point in [(0.5, -128), (0.01, 5), (1.7e-3, -30), (float(F(6 / 255)), -128), (3.0, 127)]:
        assert core.rescale(scale, zero_point) == 0
        reference.rescale(F(scale), zero_point)
        ends = core.train.params.activation_min, core.train.params.activation_max
        assert ends == activation_range(activation, F(scale), zero_point)
        a = random_input(rng, layer)
        y, saturated = core.forward(a)
        np.testing.assert_array_equal(y, reference.forward(a))
        assert saturated == reference.saturated(y)
    np.testing.assert_array_equal(core.read("weights"), layer.weights)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, 1e-38])
def test_a_scale_that_cannot_be_changes_nothing(scale: float) -> None:
    core = CoreTrain(layer_of(12), SGD)
    before = core.image()
    assert core.rescale(scale, 0) == CL_ERROR_VALUE
    assert core.image() == before


def test_memory_and_hyperparameters_are_checked() -> None:
    layer = layer_of(13)
    assert (
        CoreTrain(layer, ADAM, memory_bytes=CoreTrain(layer, ADAM).bytes - 1).init_result == CL_ERROR_MEMORY
    )
    for config in (
        Config("sgd", F(1)),
        Config("sgd", F(-0.1)),
        Config("sgd", F(math.nan)),
        Config("adam", F(0.9), F(1)),
        Config("adam", F(0.9), F(math.nan)),
        Config("adam", F(0.9), F(0.9), F(0)),
        Config("adam", F(0.9), F(0.9), F(math.inf)),
    ):
        assert CoreTrain(layer, config).init_result == CL_ERROR_VALUE
    core = CoreTrain(layer, ADAM)
    assert core.configure(Config("sgd", F(0.5))) == CL_ERROR_VALUE
    assert core.configure(Config("adam", F(0.5), F(0.9), F(1e-3))) == 0
    assert struct.unpack("f", struct.pack("f", core.train.config.momentum))[0] == 0.5


def test_nothing_is_written_beyond_the_bytes_asked_for() -> None:
    for seed in range(20):
        core = CoreTrain(random_layer(np.random.default_rng(seed), "depthwise"), ADAM)
        tail = bytes(core.ffi.buffer(core.memory))[core.bytes :]
        assert core.bytes % 8 == 0
        assert tail == b"\xff" * len(tail)
