"""RELU and RELU6 that TensorFlow did not fuse into the op before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cutlayer_converter.ops.lowered import Lowered, int8_input, int8_output, refuse
from cutlayer_converter.ops.multiplier import activation_range
from cutlayer_converter.ops.requantize import lower_scaled

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a ReLU and works out its parameters; TFLM divides the scales in float32."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    real = float(np.float32(source.scale / output.scale))
    return lower_scaled(graph, operator, real, max(-128, output.zero_point))


def lower_relu6(graph: Graph, operator: Operator) -> Lowered:
    """Checks a ReLU6, which TFLM runs in its input's scale only."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    if source.scale != output.scale or source.zero_point != output.zero_point:
        reason = f"its scale goes from {source.scale} to {output.scale}, which TFLM does not compute"
        refuse(
            graph, operator, reason, "put ReLU6 right behind a convolution, Dense or Add, where it is fused"
        )
    if source.count != output.count:
        refuse(graph, operator, "its input and output differ in shape", "convert the Keras model again")
    low, high = activation_range("relu6", source.scale, source.zero_point)
    return Lowered(
        operator=operator,
        kernel="cl_relu",
        params_type="cl_relu_params",
        params={"count": output.count, "activation_min": low, "activation_max": high},
        input=source,
        second=None,
        output=output,
        in_place=True,
        activation_min=low,
        activation_max=high,
    )
