"""Addition, multiplication, ReLU, requantization and softmax against TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
from head_runner import check_against_tflm
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import (
    Contents,
    activations,
    cases,
    contents,
    int8_values,
    multiplier_powers,
    scales,
    zero_points,
)
from tflite_builder import TfliteBuilder

shapes = st.one_of(
    st.tuples(st.just(1), st.integers(1, 6), st.integers(1, 6), st.integers(1, 9)),
    st.tuples(st.just(1), st.integers(1, 40)),
)
# The second operand: an activation of the same shape or of one value a channel (a mean), or a constant.
SECONDS = ["same", "same", "mean", "constant", "channels", "scalar", "trailing"]
seconds = st.sampled_from(SECONDS)
# log2 of ratios between the scales of two inputs.
ratios = st.floats(-8.0, 8.0)


def ratio_of(scale: float, power: float) -> float:
    """A scale 2^power times another, so large that TFLM can express 6 in it."""
    return float(np.clip(np.float32(scale * 2.0**power), 1e-8, 1e20))


def second_operand(
    builder: TfliteBuilder,
    source: int,
    shape: tuple[int, ...],
    kind: str,
    scale: float,
    zero_point: int,
    content: Contents,
) -> int:
    """The other operand; `kind` is one of SECONDS."""
    generator = content.generator()
    if kind == "mean" and len(shape) == 4:
        axes = builder.constant(np.array([1, 2], np.int32))
        mean = builder.activation((1, 1, 1, shape[3]), scale, zero_point)
        return builder.operator("MEAN", [source, axes], mean, keepDims=True)
    if kind in ("same", "mean"):
        return builder.operator("QUANTIZE", [source], builder.activation(shape, scale, zero_point))
    size = {"constant": shape, "channels": shape[-1:], "scalar": (), "trailing": (1, *shape[2:])}[kind]
    return builder.constant(int8_values(generator, size, content.extreme), [scale], zero_point)


def check_binary(
    kind: str,
    shape: tuple[int, ...],
    second: str,
    first_is_constant: bool,
    quantization: tuple[tuple[float, int], tuple[float, int], tuple[float, int]],
    activation: int,
    content: Contents,
) -> None:
    generator = content.generator()
    builder = TfliteBuilder()
    source = builder.activation(shape, *quantization[0])
    other = second_operand(builder, source, shape, second, *quantization[1], content)
    output = builder.activation(shape, *quantization[2])
    inputs = [other, source] if first_is_constant else [source, other]
    builder.operator(kind, inputs, output, fusedActivationFunction=activation)
    tflite = builder.build([source], [output])
    check_against_tflm(tflite, [int8_values(generator, shape, content.extreme)])


@cases
@given(
    shapes,
    seconds,
    st.booleans(),
    st.tuples(scales, ratios, st.floats(-18.5, 6.0)),
    st.tuples(zero_points, zero_points, zero_points),
    activations,
    contents,
)
def test_add(
    shape: tuple[int, ...],
    second: str,
    swapped: bool,
    powers: tuple[float, float, float],
    zeros: tuple[int, int, int],
    activation: int,
    content: Contents,
) -> None:
    first = powers[0]
    other = ratio_of(first, powers[1])
    # TFLM needs the output's scale above a 2^19th of the larger input's.
    output = ratio_of(max(first, other), powers[2])
    quantization = ((first, zeros[0]), (other, zeros[1]), (output, zeros[2]))
    check_binary("ADD", shape, second, swapped, quantization, activation, content)


@cases
@given(
    shapes,
    seconds,
    st.booleans(),
    st.tuples(scales, scales, multiplier_powers),
    st.tuples(zero_points, zero_points, zero_points),
    activations,
    contents,
)
def test_mul(
    shape: tuple[int, ...],
    second: str,
    swapped: bool,
    powers: tuple[float, float, float],
    zeros: tuple[int, int, int],
    activation: int,
    content: Contents,
) -> None:
    first, other, power = powers
    output = ratio_of(first * other, -power)
    quantization = ((first, zeros[0]), (other, zeros[1]), (output, zeros[2]))
    check_binary("MUL", shape, second, swapped, quantization, activation, content)


def check_unary(kind: str, shape: tuple[int, ...], ends: tuple[tuple[float, int], tuple[float, int]]) -> None:
    """All 256 bytes through one operator."""
    builder = TfliteBuilder()
    source = builder.activation(shape, *ends[0])
    output = builder.operator(kind, [source], builder.activation(shape, *ends[1]))
    values = np.arange(-128, 128, dtype=np.int8)
    check_against_tflm(builder.build([source], [output]), [np.resize(values, shape)])


unary_shapes = st.sampled_from([(1, 256), (1, 16, 16, 1), (1, 2, 43, 3)])


@cases
@given(unary_shapes, scales, multiplier_powers, zero_points, zero_points)
def test_requantize(shape: tuple[int, ...], scale: float, power: float, zero: int, output_zero: int) -> None:
    check_unary("QUANTIZE", shape, ((scale, zero), (ratio_of(scale, -power), output_zero)))


@cases
@given(unary_shapes, scales, multiplier_powers, zero_points, zero_points)
def test_relu(shape: tuple[int, ...], scale: float, power: float, zero: int, output_zero: int) -> None:
    check_unary("RELU", shape, ((scale, zero), (ratio_of(scale, -power), output_zero)))


@cases
@given(unary_shapes, scales, zero_points)
def test_relu6(shape: tuple[int, ...], scale: float, zero: int) -> None:
    check_unary("RELU6", shape, ((scale, zero), (scale, zero)))


@cases
@given(
    st.one_of(
        st.tuples(st.just(1), st.integers(1, 40)),
        st.tuples(st.just(1), st.integers(1, 3), st.integers(1, 3), st.integers(1, 300)),
    ),
    st.floats(-7.0, 2.0).map(lambda power: float(np.float32(10.0**power))),
    st.sampled_from([1.0, 1.0, 0.5, 2.0]),
    zero_points,
    contents,
)
def test_softmax(shape: tuple[int, ...], scale: float, beta: float, zero: int, content: Contents) -> None:
    builder = TfliteBuilder()
    source = builder.activation(shape, scale, zero)
    output = builder.activation(shape, 1 / 256, -128)
    builder.operator("SOFTMAX", [source], output, beta=beta)
    generator = content.generator()
    samples = [int8_values(generator, shape, content.extreme), generator.integers(-6, 6, shape, np.int8)]
    check_against_tflm(builder.build([source], [output]), samples)
