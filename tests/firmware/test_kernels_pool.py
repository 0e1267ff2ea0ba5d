"""Pooling, mean and padding against TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
from head_runner import check_against_tflm
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import (
    Contents,
    cases,
    channels,
    contents,
    int8_values,
    multiplier_powers,
    scales,
    sizes,
    zero_points,
)
from layer_models import pool_models
from tflite_builder import TfliteBuilder


@cases
@given(pool_models("AVERAGE_POOL_2D"))
def test_average_pool(model: tuple[bytes, list[np.ndarray]]) -> None:
    check_against_tflm(*model)


@cases
@given(pool_models("MAX_POOL_2D"))
def test_max_pool(model: tuple[bytes, list[np.ndarray]]) -> None:
    check_against_tflm(*model)


@cases
@given(
    st.one_of(
        st.tuples(st.just(1), st.integers(1, 20), st.integers(1, 20), channels),
        st.tuples(st.just(1), st.integers(1, 300), channels),
    ),
    st.booleans(),
    st.booleans(),
    scales,
    multiplier_powers,
    st.tuples(zero_points, zero_points),
    contents,
)
def test_mean(
    shape: tuple[int, ...],
    keep: bool,
    negative: bool,
    scale: float,
    power: float,
    zeros: tuple[int, int],
    content: Contents,
) -> None:
    builder = TfliteBuilder()
    source = builder.activation(shape, scale, zeros[0])
    axes = [axis - len(shape) if negative else axis for axis in range(1, len(shape) - 1)]
    result = (1, *(1 for _ in axes), shape[-1]) if keep else (1, shape[-1])
    output_scale = float(np.clip(np.float32(scale / 2.0**power), 1e-20, 1e20))
    output = builder.activation(result, output_scale, zeros[1])
    builder.operator("MEAN", [source, builder.constant(np.array(axes, np.int32))], output, keepDims=keep)
    samples = [int8_values(content.generator(), shape, content.extreme), np.full(shape, 127, np.int8)]
    check_against_tflm(builder.build([source], [output]), samples)


@cases
@given(
    st.tuples(st.just(1), sizes, sizes, channels),
    st.tuples(*[st.integers(0, 4)] * 4),
    st.booleans(),
    scales,
    zero_points,
    contents,
)
def test_pad(
    shape: tuple[int, int, int, int],
    pads: tuple[int, int, int, int],
    has_value: bool,
    scale: float,
    zero: int,
    content: Contents,
) -> None:
    generator = content.generator()
    builder = TfliteBuilder()
    source = builder.activation(shape, scale, zero)
    paddings_ = builder.constant(np.array([[0, 0], pads[:2], pads[2:], [0, 0]], np.int32))
    inputs = [source, paddings_]
    if has_value:
        inputs.append(builder.constant(int8_values(generator, (), False), [scale], zero))
    padded = (1, shape[1] + sum(pads[:2]), shape[2] + sum(pads[2:]), shape[3])
    output = builder.activation(padded, scale, zero)
    builder.operator("PADV2" if has_value else "PAD", inputs, output)
    samples = [int8_values(generator, shape, content.extreme)]
    check_against_tflm(builder.build([source], [output]), samples)
