"""ADD: two activations, or one and a constant; also the operands that mul shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutlayer_converter.ops.lowered import (
    Lowered,
    check_int8,
    fused_activation,
    int8_output,
    refuse,
    shape_of,
)
from cutlayer_converter.ops.multiplier import quantize_multiplier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cutlayer_converter.graph import Graph, Operator, Tensor

LEFT_SHIFT = 20


@dataclass(frozen=True, slots=True, eq=False)
class Operands:
    """The operand of the output's shape, and the one that is repeated along it."""

    first: Tensor
    second: Tensor

    @property
    def constant(self) -> NDArray[np.int8] | None:
        """The second operand's values when it is a constant."""
        return None if self.second.values is None else self.second.values.reshape(-1)

    @property
    def second_activation(self) -> Tensor | None:
        """The second operand when it is no constant."""
        return self.second if self.second.values is None else None


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks an addition and works out its parameters."""
    output = int8_output(graph, operator)
    operands = operands_of(graph, operator, output)
    first, second = operands.first, operands.second
    twice_larger = 2.0 * max(float(first.scale), float(second.scale))
    output_scale = twice_larger / ((1 << LEFT_SHIFT) * float(output.scale))
    if output_scale >= 1.0:
        reason = f"its output's scale {output.scale} is under a 2^19th of its input's"
        refuse(graph, operator, reason, "calibrate with data that uses the layer's range")
    input_multiplier, input_shift = quantize_multiplier(float(first.scale) / twice_larger)
    second_multiplier, second_shift = quantize_multiplier(float(second.scale) / twice_larger)
    output_multiplier, output_shift = quantize_multiplier(output_scale)
    low, high = fused_activation(graph, operator, output)
    return Lowered(
        operator=operator,
        kernel="cl_add",
        params_type="cl_add_params",
        params={
            "count": output.count,
            "second_count": second.count,
            "constant": operands.constant,
            "input_multiplier": input_multiplier,
            "second_multiplier": second_multiplier,
            "output_multiplier": output_multiplier,
            "input_shift": input_shift,
            "second_shift": second_shift,
            "output_shift": output_shift,
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


def operands_of(graph: Graph, operator: Operator, output: Tensor) -> Operands:
    """The operands of a commutative operator, the larger first."""
    tensors = graph.inputs(operator)
    if len(tensors) != 2 or tensors[0] is None or tensors[1] is None:
        refuse(graph, operator, "it has not two operands", "convert the Keras model again")
    first, second = tensors[0], tensors[1]
    if first.values is not None or (second.values is None and second.count > first.count):
        first, second = second, first
    for tensor in (first, second):
        check_int8(graph, operator, tensor)
    shape_of(graph, operator, first)
    tail = _without_leading_ones(second.shape)
    whole = _without_leading_ones(first.shape)
    if first.values is not None or first.count != output.count or tail != whole[len(whole) - len(tail) :]:
        reason = f"shapes {tuple(first.shape)} and {tuple(second.shape)} give {tuple(output.shape)}"
        hint = "give both operands one shape, or the second one value a channel"
        refuse(graph, operator, reason, hint)
    return Operands(first, second)


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)
