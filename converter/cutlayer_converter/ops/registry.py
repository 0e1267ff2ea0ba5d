"""The ops that the firmware runs, by TFLite's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.ops import (
    add,
    average_pool,
    conv2d,
    dense,
    depthwise,
    max_pool,
    mean,
    mul,
    pad,
    relu,
    requantize,
    softmax,
)
from cutlayer_converter.ops.lowered import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutlayer_converter.graph import Graph, Operator
    from cutlayer_converter.ops.lowered import Lowered

# They only give a new shape to the same bytes.
ALIASES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})

OPS: dict[str, Callable[[Graph, Operator], Lowered]] = {
    "ADD": add.lower,
    "AVERAGE_POOL_2D": average_pool.lower,
    "CONV_2D": conv2d.lower,
    "DEPTHWISE_CONV_2D": depthwise.lower,
    "FULLY_CONNECTED": dense.lower,
    "MAX_POOL_2D": max_pool.lower,
    "MEAN": mean.lower,
    "MUL": mul.lower,
    "PAD": pad.lower,
    "PADV2": pad.lower,
    "QUANTIZE": requantize.lower,
    "RELU": relu.lower,
    "RELU6": relu.lower_relu6,
    "SOFTMAX": softmax.lower,
}


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Turns an operator that is no alias into a kernel run.

    Raises:
        ConvertError: The firmware lacks the op, or this form of it.
    """
    if operator.kind not in OPS:
        name = graph.output_of(operator).name
        message = f"the firmware lacks {operator.kind} (operator {operator.index} of the head, {name!r})"
        supported = ", ".join(sorted({*OPS, *ALIASES}))
        raise ConvertError(message, f"cut the model before it, or use only these: {supported}")
    try:
        return OPS[operator.kind](graph, operator)
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        reason = f"its inputs or options are not those of TFLite ({error})"
        refuse(graph, operator, reason, "convert the Keras model again; head.tflite is damaged")
