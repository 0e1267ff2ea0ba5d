"""The trainable layer in C against its NumPy reference, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train_layer import KINDS, MASTERS, OPTIMIZERS, CoreTrain, random_input, random_layer, wide_layer
from train_reference import Config, F, Layer, Reference

CONFIGS = {"sgd": Config("sgd", F(0.9)), "adam": Config("adam", F(0.9))}


def random_gradient(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
    g = rng.integers(-127, 128, y.shape).astype(np.int8)
    return np.where((y == -128) | (y == 127), np.int8(0), g)


def assert_equal_state(core: CoreTrain, reference: Reference) -> None:
    layer = reference.layer
    expected = {
        "weights": layer.by_kernel(reference.weights),
        "bias": reference.bias,
        "multiplier": reference.multiplier,
        "shift": reference.shift,
        "weight_scale": reference.weight_scale,
        "master": np.concatenate([layer.by_kernel(reference.w), reference.b]),
        "moment1": np.concatenate([layer.by_kernel(reference.moments[0]), reference.moments[1]]),
        "accumulator": np.concatenate([layer.by_kernel(reference.dw), reference.db]),
    }
    if reference.config.optimizer == "adam":
        expected["moment2"] = np.concatenate([layer.by_kernel(reference.moments[2]), reference.moments[3]])
    for name, value in expected.items():
        got = core.read(name)
        different = np.flatnonzero(got.view(np.uint8) != value.astype(got.dtype).view(np.uint8))
        assert not different.size, f"{name}: {got} is not {value}"
    assert core.train.step == reference.step


def one_step(
    rng: np.random.Generator, core: CoreTrain, reference: Reference, samples: int, rate: float
) -> None:
    for sample in range(samples):
        a = random_input(rng, reference.layer)
        y, saturated = core.forward(a)
        np.testing.assert_array_equal(core.forward(a, rows=1)[0], y)
        np.testing.assert_array_equal(y, reference.forward(a))
        assert saturated == reference.saturated(y)
        g = random_gradient(rng, y)
        assert core.accumulate(a, g) == sample + 1
        reference.accumulate(a, g)
    scale = F(rng.uniform(1e-5, 1e-3))
    assert core.apply(scale, rate) == 0
    reference.apply(scale, F(rate))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("master", MASTERS)
def test_equals_numpy_after_200_steps(kind: str, optimizer: str, master: str) -> None:
    rng = np.random.default_rng([MASTERS.index(master), KINDS.index(kind), OPTIMIZERS.index(optimizer)])
    layer, config = random_layer(rng, kind), replace(CONFIGS[optimizer], master=master)
    core, reference = CoreTrain(layer, config), Reference(layer, config)
    assert core.init_result == core.bytes
    for _ in range(200):
        one_step(rng, core, reference, 2, 0.002)
    assert_equal_state(core, reference)
    assert not np.array_equal(core.read("weights"), layer.weights)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
    optimizer=st.sampled_from(OPTIMIZERS),
    samples=st.integers(1, 4),
    rate=st.sampled_from([1e-6, 1e-3, 0.1, 3.0]),
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99999994]),
    master=st.sampled_from(MASTERS),
)
def test_single_steps_equal_numpy(
    seed: int, kind: str, optimizer: str, samples: int, rate: float, momentum: float, master: str
) -> None:
    rng = np.random.default_rng(seed)
    layer, config = random_layer(rng, kind), Config(optimizer, F(momentum), F(0.99), F(1e-6), master)
    core, reference = CoreTrain(layer, config), Reference(layer, config)
    assert_equal_state(core, reference)
    for _ in range(2):
        one_step(rng, core, reference, samples, rate)
        assert_equal_state(core, reference)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("master", MASTERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
def test_wide_layers_equal_numpy(kind: str, optimizer: str, master: str, small: bool) -> None:
    rng = np.random.default_rng(17)
    layer, config = wide_layer(rng, kind), replace(CONFIGS[optimizer], master=master)
    core, reference = CoreTrain(layer, config, small=small), Reference(layer, config)
    for samples in (1, 2, 3):
        one_step(rng, core, reference, samples, 0.01)
        assert_equal_state(core, reference)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_come_in_any_order_and_not_all(kind: str) -> None:
    """Only those that came count, wherever the sample ends."""
    rng = np.random.default_rng(18)
    layer = wide_layer(rng, kind)
    core, reference = CoreTrain(layer, CONFIGS["sgd"]), Reference(layer, CONFIGS["sgd"])
    positions = layer.output_shape[0] * layer.output_shape[1]
    for count in range(1, positions + 1):
        a, order = random_input(rng, layer), rng.permutation(positions)[:count]
        g = np.zeros((positions, layer.channels), np.int8)
        for position in order:
            g[position] = rng.integers(-128, 128, layer.channels)
            assert core.accumulate_row(a, int(position), g[position]) == 0
        core.end_sample()
        reference.accumulate(a, g)
        assert_equal_state(core, reference)


@pytest.mark.parametrize("kind", KINDS)
def test_first_forward_is_the_converted_kernel(kind: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        layer = random_layer(rng, kind)
        core = CoreTrain(layer, CONFIGS["sgd"])
        a, y = random_input(rng, layer), np.empty(layer.output_shape, np.int8)
        kernel = getattr(core.lib, f"cl_{kind}")
        kernel(
            core.ffi.cast("void *", core.trainable.params),
            core._pointer("int8_t", a),
            core.ffi.NULL,
            core._pointer("int8_t", y),
            core.ffi.new("int8_t[]", 65536),
        )
        np.testing.assert_array_equal(core.forward(a)[0].reshape(layer.output_shape), y)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_numerical_one(kind: str) -> None:
    """dW_q * s_g * s_a is the slope of sum(g * s_g * y) in the real weights, without rounding and clamps."""
    rng = np.random.default_rng(5)
    layer = random_layer(rng, kind, "none")
    core = CoreTrain(layer, CONFIGS["sgd"])
    a = random_input(rng, layer)
    positions = layer.output_shape[0] * layer.output_shape[1]
    g = rng.integers(-127, 128, (positions, layer.channels)).astype(np.int8)
    core.accumulate(a, g)
    real_input = (a.astype(np.float64) - layer.input_zero_point) * float(layer.input_scale)

    def loss(weights: np.ndarray) -> float:
        return float((convolve(layer, real_input, weights) * g).sum())

    rows = layer.by_channel(layer.weights) * layer.weight_scale.astype(np.float64)[:, None]
    weights = layer.by_kernel(rows)
    accumulated = core.read("accumulator")[: weights.size] * float(layer.input_scale)
    for index in rng.permutation(weights.size)[:20]:
        nudge = np.zeros_like(weights)
        nudge[index] = 1e-3
        slope = (loss(weights + nudge) - loss(weights - nudge)) / 2e-3
        assert accumulated[index] == pytest.approx(slope, rel=1e-6, abs=1e-6)


def convolve(layer: Layer, a: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The layer in float64 by its definition: loops over positions and taps. [positions, channels]."""
    height, width, depth = layer.input_shape
    out_height, out_width, channels = layer.output_shape
    kernel_height, kernel_width = layer.kernel
    y = np.zeros((out_height * out_width, channels))
    for position in range(out_height * out_width):
        for tap in range(kernel_height * kernel_width):
            row = position // out_width * layer.stride[0] + tap // kernel_width - layer.pad[0]
            column = position % out_width * layer.stride[1] + tap % kernel_width - layer.pad[1]
            if not (0 <= row < height and 0 <= column < width):
                continue
            pixel = a[row, column]
            if layer.kind == "depthwise":
                y[position] += np.repeat(pixel, layer.depth_multiplier) * weights.reshape(-1, channels)[tap]
            else:
                y[position] += weights.reshape(channels, -1, depth)[:, tap] @ pixel
    return y


def test_a_gradient_of_zeros_changes_no_weight() -> None:
    rng = np.random.default_rng(7)
    layer = random_layer(rng, "conv2d")
    core = CoreTrain(layer, CONFIGS["adam"])
    before = core.read("master")
    core.accumulate(
        random_input(rng, layer),
        np.zeros((layer.output_shape[0] * layer.output_shape[1], layer.channels), np.int8),
    )
    assert core.apply(1e-3, 1e-3) == 0
    np.testing.assert_array_equal(core.read("master"), before)


def test_clear_drops_the_half_step() -> None:
    rng = np.random.default_rng(8)
    layer = random_layer(rng, "depthwise", "none")
    core, undisturbed = CoreTrain(layer, CONFIGS["adam"]), CoreTrain(layer, CONFIGS["adam"])
    a = random_input(rng, layer)
    g = random_gradient(rng, core.forward(a)[0])
    core.accumulate(a, g)
    assert core.read("accumulator").any()
    core.accumulate_row(a, 0, g[0])
    core.clear()
    assert not core.read("accumulator").any()
    assert (core.train.samples_in_step, core.train.rows_in_step, core.train.saturated) == (0, 0, 0)
    for train in (core, undisturbed):
        assert train.accumulate(a, g) == 1
        assert train.apply(1e-3, 1e-2) == 0
    np.testing.assert_array_equal(core.read("master"), undisturbed.read("master"))


def test_saturated_outputs_are_counted_over_the_samples_of_a_step() -> None:
    rng = np.random.default_rng(9)
    layer = random_layer(rng, "dense", "none")
    core, reference = CoreTrain(layer, CONFIGS["sgd"]), Reference(layer, CONFIGS["sgd"])
    assert core.rescale(layer.output_scale / F(50), 3) == 0
    reference.rescale(F(layer.output_scale / F(50)), 3)
    total = 0
    for _ in range(3):
        a = random_input(rng, layer)
        y, saturated = core.forward(a)
        assert saturated == int(((y == -128) | (y == 127)).sum())
        total += saturated
        core.end_sample(saturated)
    core.forward(a)  # an inference in between: no end of a sample, not counted
    assert total > 0
    assert core.train.saturated == total
    assert core.apply(1e-3, 1e-3) == 0
    assert core.train.saturated == 0
