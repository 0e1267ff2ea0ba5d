"""AVERAGE_POOL_2D; also the parameters that max_pool shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """Checks an average pooling and works out its parameters."""
    return lower_pool(graph, operator, "cl_average_pool")


def lower_pool(graph: Graph, operator: Operator, kernel: str) -> Lowered:
    """Checks a pooling and works out the parameters of `kernel`."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    input_shape, output_shape = shape_of(graph, operator, source), shape_of(graph, operator, output)
    if abs(source.scale - output.scale) > 1e-6 or source.zero_point != output.zero_point:
        refuse(graph, operator, "its input and output differ in scale", "convert the Keras model again")
    if input_shape[2] != output_shape[2]:
        refuse(graph, operator, "its input and output differ in channels", "convert the Keras model again")
    size = (int(operator.options["filterHeight"]), int(operator.options["filterWidth"]))
    window = window_of(graph, operator, size, input_shape[:2], output_shape[:2])
    low, high = fused_activation(graph, operator, output)
    return Lowered(
        operator=operator,
        kernel=kernel,
        params_type="cl_pool_params",
        params={
            "input": input_shape,
            "output": output_shape,
            "window_height": size[0],
            "window_width": size[1],
            **window.fields(),
            "activation_min": low,
            "activation_max": high,
        },
        input=source,
        second=None,
        output=output,
        activation_min=low,
        activation_max=high,
    )
