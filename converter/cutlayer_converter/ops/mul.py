"""MUL: two activations, or one and a constant (a BatchNormalization that was not folded)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.ops.add import operands_of
from cutlayer_converter.ops.lowered import Lowered, fused_activation, int8_output
from cutlayer_converter.ops.multiplier import quantize_multiplier

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a multiplication and works out its parameters."""
    output = int8_output(graph, operator)
    operands = operands_of(graph, operator, output)
    first, second = operands.first, operands.second
    inputs = [tensor for tensor in graph.inputs(operator) if tensor]
    real = float(inputs[0].scale) * float(inputs[1].scale) / float(output.scale)
    multiplier, shift = quantize_multiplier(real)
    low, high = fused_activation(graph, operator, output)
    return Lowered(
        operator=operator,
        kernel="cl_mul",
        params_type="cl_mul_params",
        params={
            "count": output.count,
            "second_count": second.count,
            "constant": operands.constant,
            "multiplier": multiplier,
            "shift": shift,
            "input_zero_point": first.zero_point,
            "second_zero_point": second.zero_point,
            "output_zero_point": output.zero_point,
            "activation_min": low,
            "activation_max": high,
        },
        input=first,
        second=operands.second_activation,
        output=output,
        in_place=True,
        activation_min=low,
        activation_max=high,
    )
