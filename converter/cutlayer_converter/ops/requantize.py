"""QUANTIZE int8 to int8; also RELU, which TFLM runs as a requantization with a clamp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.ops.lowered import Lowered, int8_input, int8_output, refuse
from cutlayer_converter.ops.multiplier import quantize_multiplier

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a requantization and works out its parameters."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    real = float(source.scale) / float(output.scale)
    return lower_scaled(graph, operator, real, -128)


def lower_scaled(graph: Graph, operator: Operator, real: float, low: int) -> Lowered:
    """A requantization by the real multiplier `real`, clamped below at `low`."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    if source.count != output.count:
        refuse(graph, operator, "its input and output differ in shape", "convert the Keras model again")
    multiplier, shift = quantize_multiplier(real)
    return Lowered(
        operator=operator,
        kernel="cl_requantize",
        params_type="cl_requantize_params",
        params={
            "count": output.count,
            "multiplier": multiplier,
            "shift": shift,
            "input_zero_point": source.zero_point,
            "output_zero_point": output.zero_point,
            "activation_min": low,
            "activation_max": 127,
        },
        input=source,
        second=None,
        output=output,
        in_place=True,
        activation_min=low,
    )
