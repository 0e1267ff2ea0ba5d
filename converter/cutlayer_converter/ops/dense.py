"""FULLY_CONNECTED: one row of input, or one row a position when it keeps leading dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.ops.conv2d import channel_params, channel_scales, convolution_scales, weights_of
from cutlayer_converter.ops.lowered import Lowered, fused_activation, int8_input, int8_output, refuse

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a fully connected layer and works out its parameters."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    weights = weights_of(graph, operator, dimensions=2, channel_axis=0)
    channels, depth = weights.shape
    rows, rest = divmod(source.count, depth)
    if rest or output.count != rows * channels or max(rows, depth, channels) > 65535:
        reason = f"weights {weights.shape} do not take {source.shape} to {output.shape}"
        refuse(graph, operator, reason, "convert the Keras model again, with sizes up to 65535")
    low, high = fused_activation(graph, operator, output)
    return Lowered(
        operator=operator,
        kernel="cl_dense",
        params_type="cl_conv_params",
        params={
            "input": (1, rows, depth),
            "output": (1, rows, channels),
            "kernel_height": 1,
            "kernel_width": 1,
            "stride_height": 1,
            "stride_width": 1,
            "pad_top": 0,
            "pad_left": 0,
            "depth_multiplier": 1,
            **channel_params(graph, operator, weights, convolution_scales(source, weights, output, channels)),
        },
        input=source,
        second=None,
        output=output,
        activation_min=low,
        activation_max=high,
        weight_scales=channel_scales(weights, channels),
    )
