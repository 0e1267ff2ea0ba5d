"""CONV_2D: a convolution of any kernel; also the checks of weights that depthwise and dense share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.ops.lowered import (
    Lowered,
    fused_activation,
    int8_input,
    int8_output,
    refuse,
    shape_of,
)
from cutlayer_converter.ops.multiplier import quantize_multipliers
from cutlayer_converter.ops.window import window_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cutlayer_converter.graph import Graph, Operator, Tensor


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a convolution and works out its parameters."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    weights = weights_of(graph, operator, dimensions=4, channel_axis=0)
    input_shape, output_shape = shape_of(graph, operator, source), shape_of(graph, operator, output)
    channels, height, width, depth = weights.shape
    if depth != input_shape[2]:
        reason = f"each output sees {depth} of {input_shape[2]} input channels"
        refuse(graph, operator, reason, "set groups to 1")
    if channels != output_shape[2]:
        refuse(graph, operator, "its weights and output differ in channels", "convert the Keras model again")
    window = window_of(graph, operator, (height, width), input_shape[:2], output_shape[:2])
    low, high = fused_activation(graph, operator, output)
    # The bias of each channel with the zero point folded in, then two windows unless they lie in the input.
    in_input = height == width == window.stride_height == window.stride_width == 1
    return Lowered(
        operator=operator,
        kernel="cl_conv2d",
        params_type="cl_conv_params",
        params={
            "input": input_shape,
            "output": output_shape,
            "kernel_height": height,
            "kernel_width": width,
            **window.fields(),
            "depth_multiplier": 1,
            **channel_params(graph, operator, weights, convolution_scales(source, weights, output, channels)),
        },
        input=source,
        second=None,
        output=output,
        scratch_bytes=4 * channels + (0 if in_input else 2 * height * width * depth),
        activation_min=low,
        activation_max=high,
        weight_scales=channel_scales(weights, channels),
    )


def channel_params(graph: Graph, operator: Operator, weights: Tensor, scales: list[float]) -> dict[str, Any]:
    """Of cl_conv_params what all layers with weights share; `scales` are the channels' real multipliers."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    multiplier, shift = quantize_multipliers(scales)
    low, high = fused_activation(graph, operator, output)
    return {
        "input_zero_point": source.zero_point,
        "output_zero_point": output.zero_point,
        "activation_min": low,
        "activation_max": high,
        "weights": weights.values,
        "bias": bias_of(graph, operator, len(scales)),
        "multiplier": multiplier,
        "shift": shift,
    }


def weights_of(graph: Graph, operator: Operator, dimensions: int, channel_axis: int) -> Tensor:
    """The operator's constant, symmetric int8 weights."""
    weights = graph.inputs(operator)[1]
    if weights is None or weights.values is None or weights.dtype != "int8":
        what = "missing" if weights is None else f"{weights.dtype} or no constant"
        refuse(graph, operator, f"its weights are {what}", "use constant int8 weights")
    if len(weights.shape) != dimensions:
        refuse(graph, operator, f"its weights have shape {weights.shape}", "convert the Keras model again")
    if weights.zero_point != 0:
        reason = f"its weights have zero point {weights.zero_point}, not 0"
        refuse(graph, operator, reason, "quantize weights symmetrically")
    count = len(weights.scales)
    if count != 1 and (count != weights.shape[channel_axis] or weights.channel_axis != channel_axis):
        reason = f"{count} weight scales along axis {weights.channel_axis} of {weights.shape}"
        refuse(graph, operator, reason, "quantize weights per output channel or per tensor")
    return weights


def bias_of(graph: Graph, operator: Operator, channels: int) -> NDArray[np.int32]:
    """The operator's int32 bias, zeros when it has none."""
    inputs = graph.inputs(operator)
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is None:
        return np.zeros(channels, np.int32)
    if bias.values is None or bias.dtype != "int32" or bias.count != channels:
        reason = f"its bias is {bias.dtype} of shape {bias.shape}, not {channels} constant int32"
        refuse(graph, operator, reason, "quantize the head to full int8 with int32 biases")
    return np.asarray(bias.values, np.int32).reshape(-1)


def channel_scales(weights: Tensor, channels: int) -> tuple[float, ...]:
    """The weights' scale of each output channel."""
    return tuple(float(scale) for scale in np.broadcast_to(weights.scales, (channels,)))


def convolution_scales(source: Tensor, weights: Tensor, output: Tensor, channels: int) -> list[float]:
    """Real multiplier of each channel, as TFLM's convolutions have it: in double throughout."""
    scales = channel_scales(weights, channels)
    return [float(source.scale) * scale / float(output.scale) for scale in scales]
