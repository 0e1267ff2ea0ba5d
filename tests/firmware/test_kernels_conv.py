"""Convolution, depthwise convolution and fully connected layer against TensorFlow Lite Micro."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from head_runner import check_against_tflm
from hypothesis import given
from kernel_cases import cases
from layer_models import convolutions, dense, depthwise
from tflite_builder import VALID, TfliteBuilder

from cutlayer_converter.arena import plan
from cutlayer_converter.graph import read_graph

if TYPE_CHECKING:
    from layer_models import Model


@cases
@given(convolutions())
def test_conv2d(model: Model) -> None:
    check_against_tflm(*model)


@cases
@given(depthwise())
def test_depthwise(model: Model) -> None:
    check_against_tflm(*model)


@cases
@given(dense())
def test_dense(model: Model) -> None:
    check_against_tflm(*model)


def test_a_dense_layer_with_one_weight_scale_multiplies_the_scales_as_doubles() -> None:
    source_scale, weight_scale = np.float32(0.0137), np.float32(0.0291)
    output_scale = np.float32(float(source_scale) * float(weight_scale) * 2.0**23.5)
    as_double = float(source_scale) * float(weight_scale) / float(output_scale)
    as_float = float(source_scale * weight_scale) / float(output_scale)
    assert abs(as_float / as_double - 1) > 1e-8
    # Sums at which the two multipliers round to neighbours.
    between = (as_double + as_float) / 2
    bias = np.rint((np.arange(60, 120) - 0.5) / between).astype(np.int32)
    builder = TfliteBuilder()
    source = builder.activation((1, 1), source_scale, 0)
    weights = builder.constant(np.ones((60, 1), np.int8), np.array([weight_scale]), 0, 0)
    inputs = [source, weights, builder.constant(bias, np.array([source_scale * weight_scale]))]
    output = builder.activation((1, 60), output_scale, 0)
    builder.operator("FULLY_CONNECTED", inputs, output, fusedActivationFunction=0, keepNumDims=False)
    check_against_tflm(builder.build([source], [output]), [np.zeros((1, 1), np.int8)])


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_a_pointwise_convolution_of_positions_that_are_no_words(depth: int) -> None:
    """Five rows are one of all positions, whose lines are copied whole."""
    generator = np.random.default_rng(depth)
    builder = TfliteBuilder()
    source = builder.activation((1, 5, 7, depth), 0.05, -3)
    scales = np.full(9, 0.002, np.float32)
    weights = builder.constant(generator.integers(-127, 128, (9, 1, 1, depth), np.int8), scales)
    bias = builder.constant(generator.integers(-999, 999, 9, np.int32), scales * 0.05)
    output = builder.activation((1, 5, 7, 9), 0.004, 10)
    options = {"padding": VALID, "strideH": 1, "strideW": 1, "fusedActivationFunction": 0}
    builder.operator(
        "CONV_2D", [source, weights, bias], output, dilationHFactor=1, dilationWFactor=1, **options
    )
    tflite = builder.build([source], [output])
    assert plan(read_graph(tflite), "long-multiply").steps[0].lowered.kernel == "cl_conv2d_long"
    check_against_tflm(tflite, [generator.integers(-128, 128, (1, 5, 7, depth), np.int8)])
