"""Hypothesis strategies for models of one operator, each with inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from kernel_cases import (
    Contents,
    activations,
    bias_values,
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
from numpy.typing import NDArray
from tflite_builder import VALID, TfliteBuilder

Model = tuple[bytes, list[NDArray[np.int8]]]

pairs = st.tuples(strides, strides)
# TFLite's weights are symmetric, and kernels that need it are chosen for those that are.
weight_ends = st.sampled_from([-127, -127, -128])


def weight_scales(generator: np.random.Generator, per_channel: int, count: int) -> np.ndarray[Any, Any]:
    """Scales that differ by up to 30 times, or one."""
    return np.float32(10.0 ** generator.uniform(-3.0, -1.5, count if per_channel else 1))


def output_scale(input_scale: float, weights: np.ndarray[Any, Any], power: float) -> float:
    """The output's scale for a real multiplier of about 2^power."""
    return float(np.clip(np.float32(input_scale * float(weights.max()) / 2.0**power), 1e-8, 1e30))


def window_model(kind: str, case: dict[str, Any], weights_shape: tuple[int, ...], axis: int) -> Model:
    """One convolution of `kind` with random weights."""
    content: Contents = case["content"]
    generator = content.generator()
    height, width = case["size"]
    kernel, stride, padding = case["kernel"], case["stride"], case["padding"]
    count = weights_shape[axis]
    builder = TfliteBuilder()
    source = builder.activation((1, height, width, case["channels"]), case["scale"], case["zero_point"])
    scale = weight_scales(generator, case["per_channel"], count)
    values = np.maximum(int8_values(generator, weights_shape, content.extreme), np.int8(case["weight_end"]))
    weights = builder.constant(values, scale, 0, axis)
    inputs = [source, weights]
    if case["biased"]:
        bias = bias_values(generator, count, content.huge_bias)
        inputs.append(builder.constant(bias, np.float32(case["scale"] * scale)))
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
    sample = int8_values(generator, (1, height, width, case["channels"]), content.extreme)
    return builder.build([source], [output]), [sample]


# What every layer with weights has.
weighted = st.fixed_dictionaries(
    {
        "scale": scales,
        "zero_point": zero_points,
        "output_zero": zero_points,
        "power": multiplier_powers,
        "activation": activations,
        "per_channel": st.booleans(),
        "biased": st.sampled_from([True, True, False]),
        "content": contents,
        "weight_end": weight_ends,
    }
)


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
        **draw(weighted),
    }


@st.composite
def convolutions(draw: st.DrawFn) -> Model:
    case, outputs = draw(window_cases()), draw(channels)
    return window_model("CONV_2D", case, (outputs, *case["kernel"], case["channels"]), axis=0)


@st.composite
def depthwise(draw: st.DrawFn) -> Model:
    case, multiplier = draw(window_cases()), draw(st.sampled_from([1, 1, 2, 3, 8]))
    shape = (1, *case["kernel"], case["channels"] * multiplier)
    return window_model("DEPTHWISE_CONV_2D", case, shape, axis=3)


@st.composite
def depthwise_3x3(draw: st.DrawFn) -> Model:
    """The shapes that networks have."""
    stride = draw(st.integers(1, 2))
    case = draw(window_cases()) | {"kernel": (3, 3), "stride": (stride, stride)}
    if case["padding"] == VALID:
        case["size"] = tuple(max(size, 3) for size in case["size"])
    case["channels"] = draw(st.sampled_from([4, 8, 12]))
    return window_model("DEPTHWISE_CONV_2D", case, (1, 3, 3, case["channels"]), axis=3)


@st.composite
def dense_cases(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "rows": draw(st.sampled_from([1, 1, 1, 2, 5])),
        "depth": draw(st.integers(1, 70)),
        "outputs": draw(channels),
        **draw(weighted),
    }


@st.composite
def dense(draw: st.DrawFn) -> Model:
    case = draw(dense_cases())
    content: Contents = case["content"]
    generator = content.generator()
    rows, depth, outputs = case["rows"], case["depth"], case["outputs"]
    builder = TfliteBuilder()
    shape = (1, depth) if rows == 1 else (1, rows, depth)
    source = builder.activation(shape, case["scale"], case["zero_point"])
    scale = weight_scales(generator, case["per_channel"], outputs)
    values = np.maximum(
        int8_values(generator, (outputs, depth), content.extreme), np.int8(case["weight_end"])
    )
    weights = builder.constant(values, scale, 0, 0)
    inputs = [source, weights]
    if case["biased"]:
        bias = bias_values(generator, outputs, content.huge_bias)
        inputs.append(builder.constant(bias, np.float32(case["scale"] * scale)))
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
    return builder.build([source], [output]), [int8_values(generator, shape, content.extreme)]


@st.composite
def pool_models(draw: st.DrawFn, kind: str) -> Model:
    size = draw(st.tuples(sizes, sizes))
    window = draw(st.one_of(st.just(size), st.tuples(kernels, kernels)))
    stride = draw(st.tuples(strides, strides))
    padding = draw(paddings)
    if padding == VALID:
        window = (min(window[0], size[0]), min(window[1], size[1]))
    content: Contents = draw(contents)
    quantization = (draw(scales), draw(zero_points))
    shape = (1, *size, draw(channels))
    pooled = [output_size(padding, *each) for each in zip(size, window, stride, strict=True)]
    builder = TfliteBuilder()
    source = builder.activation(shape, *quantization)
    output = builder.activation((1, *pooled, shape[3]), *quantization)
    builder.operator(
        kind,
        [source],
        output,
        padding=padding,
        strideH=stride[0],
        strideW=stride[1],
        filterHeight=window[0],
        filterWidth=window[1],
        fusedActivationFunction=draw(activations),
    )
    samples = [int8_values(content.generator(), shape, content.extreme)]
    return builder.build([source], [output]), samples


@st.composite
def global_average_pools(draw: st.DrawFn) -> Model:
    """Pools of the whole input, of channels in fours."""
    shape = (1, *draw(st.tuples(sizes, sizes)), draw(st.sampled_from([4, 8, 12, 20])))
    content: Contents = draw(contents)
    quantization = (draw(scales), draw(zero_points))
    builder = TfliteBuilder()
    source = builder.activation(shape, *quantization)
    builder.operator(
        "AVERAGE_POOL_2D",
        [source],
        output := builder.activation((1, 1, 1, shape[3]), *quantization),
        padding=VALID,
        strideH=shape[1],
        strideW=shape[2],
        filterHeight=shape[1],
        filterWidth=shape[2],
        fusedActivationFunction=draw(activations),
    )
    samples = [int8_values(content.generator(), shape, content.extreme)]
    return builder.build([source], [output]), samples


@st.composite
def additions(draw: st.DrawFn) -> Model:
    """Two activations of one shape, of scales that networks have or of equal ones."""
    shape = (1, *draw(st.tuples(sizes, sizes, channels)))
    content: Contents = draw(contents)
    first = draw(scales)
    second = first * draw(st.one_of(st.just(1.0), st.floats(0.02, 50.0)))
    result = (first + second) * draw(st.floats(0.05, 1.5))
    builder = TfliteBuilder()
    source = builder.activation(shape, first, draw(zero_points))
    other = builder.activation(shape, float(np.float32(second)), draw(zero_points))
    builder.operator("QUANTIZE", [source], other)
    output = builder.activation(shape, float(np.float32(result)), draw(zero_points))
    inputs = draw(st.permutations([source, other]))
    builder.operator("ADD", inputs, output, fusedActivationFunction=draw(activations))
    return builder.build([source], [output]), [int8_values(content.generator(), shape, content.extreme)]
