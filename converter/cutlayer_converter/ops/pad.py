"""PAD and PADV2: a constant around height and width (ZeroPadding2D)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cutlayer_converter.ops.lowered import Lowered, int8_input, int8_output, refuse, shape_of

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator, Tensor


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a padding and works out its parameters."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    paddings = graph.inputs(operator)[1]
    if paddings is None or paddings.values is None or paddings.count != 2 * len(source.shape):
        refuse(graph, operator, "its paddings are no constant", "use ZeroPadding2D")
    if source.scale != output.scale or source.zero_point != output.zero_point:
        refuse(graph, operator, "its input and output differ in scale", "convert the Keras model again")
    pads = np.zeros((4, 2), np.int64)
    pads[4 - len(source.shape) :] = paddings.values.reshape(-1, 2)
    if pads.min() < 0 or pads[0].any() or pads[3].any() or len(source.shape) < 3:
        reason = f"it pads {paddings.values.tolist()}"
        refuse(graph, operator, reason, "pad height and width only, by 0 or more")
    input_shape, output_shape = shape_of(graph, operator, source), shape_of(graph, operator, output)
    if any(output_shape[i] != input_shape[i] + pads[i + 1].sum() for i in range(3)):
        refuse(graph, operator, f"its output has shape {output.shape}", "convert the Keras model again")
    return Lowered(
        operator=operator,
        kernel="cl_pad",
        params_type="cl_pad_params",
        params={
            "input": input_shape,
            "output": output_shape,
            "pad_top": int(pads[1, 0]),
            "pad_left": int(pads[2, 0]),
            "value": _value(graph, operator, output),
        },
        input=source,
        second=None,
        output=output,
    )


def _value(graph: Graph, operator: Operator, output: Tensor) -> int:
    inputs = graph.inputs(operator)
    constant = inputs[2] if len(inputs) > 2 else None
    if constant is None:
        return output.zero_point
    if constant.values is None or constant.dtype != "int8" or constant.count != 1:
        refuse(graph, operator, "its value is not one int8 constant", "use ZeroPadding2D")
    return int(constant.values.flat[0])
