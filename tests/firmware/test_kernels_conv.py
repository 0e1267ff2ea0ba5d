"""Convolution, depthwise convolution and fully connected layer against TensorFlow Lite Micro."""

from __future__ import annotations

from typing import Any

import numpy as np
from head_runner import check_against_tflm
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import (
    Contents,
    activations,
    bias_values,
    cases,
    channels,
    contents,
    int8_values,
    kernels,
    multiplier_powers,
    output_size,
    paddings,
    scales,
    sizes,
    strides,
    zero_points,
)
from tflite_builder import VALID, TfliteBuilder

pairs = st.tuples(strides, strides)


def weight_scales(generator: np.random.Generator, per_channel: int, count: int) -> np.ndarray[Any, Any]:
    """Scales that differ by up to 30 times, or one."""
    return np.float32(10.0 ** generator.uniform(-3.0, -1.5, count if per_channel else 1))


def output_scale(input_scale: float, weights: np.ndarray[Any, Any], power: float) -> float:
    """The output's scale for a real multiplier of about 2^power."""
    return float(np.clip(np.float32(input_scale * float(weights.max()) / 2.0**power), 1e-8, 1e30))


def check_window_op(kind: str, case: dict[str, Any], weights_shape: tuple[int, ...], axis: int) -> None:
    """One convolution of `kind` with random weights."""
    content: Contents = case["content"]
    generator = content.generator()
    height, width = case["size"]
    kernel, stride, padding = case["kernel"], case["stride"], case["padding"]
    count = weights_shape[axis]
    builder = TfliteBuilder()
    source = builder.activation((1, height, width, case["channels"]), case["scale"], case["zero_point"])
    scale = weight_scales(generator, case["per_channel"], count)
    weights = builder.constant(int8_values(generator, weights_shape, content.extreme), scale, 0, axis)
    inputs = [source, weights]
    if case["biased"]:
        values = bias_values(generator, count, content.huge_bias)
        inputs.append(builder.constant(values, np.float32(case["scale"] * scale)))
    shape = (
        1,
        output_size(padding, height, kernel[0], stride[0]),
        output_size(padding, width, kernel[1], stride[1]),
        count,
    )
    output = builder.activation(shape, output_scale(case["scale"], scale, case["power"]), case["output_zero"])
    options = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": 1,
        "dilationWFactor": 1,
        "fusedActivationFunction": case["activation"],
    }
    if kind == "DEPTHWISE_CONV_2D":
        options["depthMultiplier"] = count // case["channels"]
    builder.operator(kind, inputs, output, **options)
    tflite = builder.build([source], [output])
    sample = int8_values(generator, (1, height, width, case["channels"]), content.extreme)
    check_against_tflm(tflite, [sample])


@st.composite
def window_cases(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.tuples(sizes, sizes))
    kernel = draw(st.one_of(st.just((1, 1)), st.tuples(kernels, kernels)))
    padding = draw(paddings)
    if padding == VALID:
        kernel = (min(kernel[0], size[0]), min(kernel[1], size[1]))
    return {
        "size": size,
        "kernel": kernel,
        "padding": padding,
        "channels": draw(channels),
        "stride": draw(pairs),
        "scale": draw(scales),
        "zero_point": draw(zero_points),
        "output_zero": draw(zero_points),
        "power": draw(multiplier_powers),
        "activation": draw(activations),
        "per_channel": draw(st.booleans()),
        "biased": draw(st.sampled_from([True, True, False])),
        "content": draw(contents),
    }


@cases
@given(window_cases(), channels)
def test_conv2d(case: dict[str, Any], outputs: int) -> None:
    check_window_op("CONV_2D", case, (outputs, *case["kernel"], case["channels"]), axis=0)


@cases
@given(window_cases(), st.sampled_from([1, 1, 2, 3, 8]))
def test_depthwise(case: dict[str, Any], multiplier: int) -> None:
    check_window_op("DEPTHWISE_CONV_2D", case, (1, *case["kernel"], case["channels"] * multiplier), axis=3)


@st.composite
def dense_cases(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "rows": draw(st.sampled_from([1, 1, 1, 2, 5])),
        "depth": draw(st.integers(1, 70)),
        "outputs": draw(channels),
        "scale": draw(scales),
        "zero_point": draw(zero_points),
        "output_zero": draw(zero_points),
        "power": draw(multiplier_powers),
        "activation": draw(activations),
        "per_channel": draw(st.booleans()),
        "biased": draw(st.sampled_from([True, True, False])),
        "content": draw(contents),
    }


@cases
@given(dense_cases())
def test_dense(case: dict[str, Any]) -> None:
    content: Contents = case["content"]
    generator = content.generator()
    rows, depth, outputs = case["rows"], case["depth"], case["outputs"]
    builder = TfliteBuilder()
    shape = (1, depth) if rows == 1 else (1, rows, depth)
    source = builder.activation(shape, case["scale"], case["zero_point"])
    scale = weight_scales(generator, case["per_channel"], outputs)
    weights = builder.constant(int8_values(generator, (outputs, depth), content.extreme), scale, 0, 0)
    inputs = [source, weights]
    if case["biased"]:
        values = bias_values(generator, outputs, content.huge_bias)
        inputs.append(builder.constant(values, np.float32(case["scale"] * scale)))
    output = builder.activation(
        (*shape[:-1], outputs), output_scale(case["scale"], scale, case["power"]), case["output_zero"]
    )
    builder.operator(
        "FULLY_CONNECTED",
        inputs,
        output,
        fusedActivationFunction=case["activation"],
        keepNumDims=rows > 1,
    )
    tflite = builder.build([source], [output])
    check_against_tflm(tflite, [int8_values(generator, shape, content.extreme)])
