"""MEAN over height and width: global average pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.ops.lowered import Lowered, int8_input, int8_output, refuse, shape_of
from cutlayer_converter.ops.multiplier import quantize_multiplier

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a mean and works out its parameters."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    axes = graph.inputs(operator)[1]
    dimensions = len(source.shape)
    given = (
        set()
        if axes is None or axes.values is None
        else {int(axis) % dimensions for axis in axes.values.flat}
    )
    if given != set(range(1, dimensions - 1)) or dimensions < 3:
        reason = f"it is over axes {sorted(given)} of {source.shape}"
        refuse(graph, operator, reason, "use GlobalAveragePooling2D, or cut before it")
    shape = shape_of(graph, operator, source)
    if output.count != shape[2]:
        refuse(graph, operator, f"its output has shape {output.shape}", "convert the Keras model again")
    multiplier, shift = _mean_multiplier(float(source.scale) / float(output.scale), shape[0] * shape[1])
    return Lowered(
        operator=operator,
        kernel="cl_mean",
        params_type="cl_mean_params",
        params={
            "input": shape,
            "multiplier": multiplier,
            "shift": shift,
            "input_zero_point": source.zero_point,
            "output_zero_point": output.zero_point,
        },
        input=source,
        second=None,
        output=output,
    )


def _mean_multiplier(real: float, count: int) -> tuple[int, int]:
    """The multiplier with the division by `count` in it, as TFLite's QuantizedMeanOrSum works it out."""
    multiplier, shift = quantize_multiplier(real)
    bits = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << bits) // count, shift - bits
