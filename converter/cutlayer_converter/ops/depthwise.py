"""DEPTHWISE_CONV_2D: any kernel, any depth multiplier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.ops.conv2d import channel_params, channel_scales, convolution_scales, weights_of
from cutlayer_converter.ops.lowered import (
    Lowered,
    fused_activation,
    int8_input,
    int8_output,
    refuse,
    shape_of,
)
from cutlayer_converter.ops.window import window_of

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a depthwise convolution and works out its parameters."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    weights = weights_of(graph, operator, dimensions=4, channel_axis=3)
    input_shape, output_shape = shape_of(graph, operator, source), shape_of(graph, operator, output)
    one, height, width, channels = weights.shape
    depth_multiplier = channels // input_shape[2]
    if one != 1 or channels != output_shape[2] or channels != depth_multiplier * input_shape[2]:
        reason = f"weights {weights.shape} do not take {input_shape[2]} channels to {output_shape[2]}"
        refuse(graph, operator, reason, "convert the Keras model again")
    if depth_multiplier > 255:
        refuse(graph, operator, f"its depth multiplier is {depth_multiplier}", "use at most 255")
    window = window_of(graph, operator, (height, width), input_shape[:2], output_shape[:2])
    low, high = fused_activation(graph, operator, output)
    return Lowered(
        operator=operator,
        kernel="cl_depthwise",
        params_type="cl_conv_params",
        params={
            "input": input_shape,
            "output": output_shape,
            "kernel_height": height,
            "kernel_width": width,
            **window.fields(),
            "depth_multiplier": depth_multiplier,
            **channel_params(graph, operator, weights, convolution_scales(source, weights, output, channels)),
        },
        input=source,
        second=None,
        output=output,
        activation_min=low,
        activation_max=high,
        weight_scales=channel_scales(weights, channels),
    )
