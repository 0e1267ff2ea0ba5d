"""An operator turned into a kernel and its parameters: what emit.py prints and what the tests call."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.ops.multiplier import ACTIVATIONS, activation_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutlayer_converter.graph import Graph, Operator, Tensor

# Kernels whose windows give single rows of the output.
ROW_KERNELS = (
    *(f"cl_{kind}{ending}" for kind in ("conv2d", "depthwise") for ending in ("", "_long", "_armv7em")),
    "cl_conv2d_plain_armv7em",
)


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A kernel run.

    Attributes:
        operator: Where it comes from.
        kernel: The C function, such as "cl_conv2d".
        params_type: The C struct of its parameters, such as "cl_conv_params".
        params: Field to value: int, (height, width, channels) for a shape, a NumPy array for a pointer to
            constants, the name of a C function, another Lowered for a pointer to its parameters, or None for
            a null pointer.
        input: First activation.
        second: Second activation, or None.
        output: What it makes.
        scratch_bytes: Needed while it runs.
        in_place: Whether the output may be written over the (first) input.
        activation_min: Clamped low end of its output.
        activation_max: Clamped high end of its output.
        weight_scales: One an output channel, for a layer with weights.
    """

    operator: Operator
    kernel: str
    params_type: str
    params: Mapping[str, Any]
    input: Tensor
    second: Tensor | None
    output: Tensor
    scratch_bytes: int = 0
    in_place: bool = False
    activation_min: int = -128
    activation_max: int = 127
    weight_scales: tuple[float, ...] = ()

    @property
    def row_kernel(self) -> str | None:
        """The C function that makes some rows of the output alone (cl_row_kernel), where there is one."""
        return f"{self.kernel}_rows" if self.kernel in ROW_KERNELS else None

    @property
    def parts(self) -> tuple[Lowered, ...]:
        """The runs that this one is made of: itself, or those that it fuses."""
        return tuple(value for value in self.params.values() if isinstance(value, Lowered)) or (self,)

    @property
    def table_bytes(self) -> int:
        """Weights, biases, multipliers and other constants, in flash."""
        values = (value for part in self.parts for value in part.params.values())
        return sum(value.nbytes for value in values if hasattr(value, "nbytes"))

    @property
    def row_count(self) -> int:
        """Elements of a row of the output: all of one that has no rows."""
        return prod(self.output.shape[2:]) if len(self.output.shape) == 4 else self.output.count


def refuse(graph: Graph, operator: Operator, reason: str, hint: str) -> NoReturn:
    """Raises ConvertError about an operator that the firmware cannot run."""
    name = graph.output_of(operator).name
    message = (
        f"the firmware cannot run {operator.kind} (operator {operator.index} of the head, {name!r}): {reason}"
    )
    raise ConvertError(message, hint)


def int8_input(graph: Graph, operator: Operator, position: int = 0) -> Tensor:
    """An activation input of the operator, which must be int8 with one scale and batch 1."""
    tensor = graph.inputs(operator)[position]
    if tensor is None:
        refuse(graph, operator, f"input {position} is missing", "convert the Keras model again")
    check_int8(graph, operator, tensor)
    if tensor.values is not None:
        refuse(graph, operator, f"input {tensor.name!r} is a constant", "remove the constant layer")
    return tensor


def int8_output(graph: Graph, operator: Operator) -> Tensor:
    """The operator's only output, which must be int8 with one scale and batch 1."""
    if len(operator.outputs) != 1:
        refuse(graph, operator, f"it has {len(operator.outputs)} outputs", "cut the model before it")
    tensor = graph.output_of(operator)
    check_int8(graph, operator, tensor)
    return tensor


def check_int8(graph: Graph, operator: Operator, tensor: Tensor) -> None:
    """Refuses a tensor that is not int8 with one positive scale."""
    if tensor.dtype != "int8" or len(tensor.scales) != 1 or not 0 < float(tensor.scale) < float("inf"):
        reason = f"{tensor.name!r} is {tensor.dtype} with {len(tensor.scales)} scales, not int8 with one"
        refuse(graph, operator, reason, "quantize the head to full int8")


def shape_of(graph: Graph, operator: Operator, tensor: Tensor) -> tuple[int, int, int]:
    """Height, width and channels of an activation; leading sizes of 1 where it has fewer dimensions."""
    shape = tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape
    if len(tensor.shape) > 4 or (len(tensor.shape) > 1 and tensor.shape[0] != 1):
        reason = f"{tensor.name!r} has shape {tensor.shape}, not (1, height, width, channels)"
        refuse(graph, operator, reason, "use a batch of 1 and at most three dimensions")
    if any(not 1 <= size <= 65535 for size in shape):
        reason = f"{tensor.name!r} has shape {tensor.shape}; a size is 1 to 65535"
        refuse(graph, operator, reason, "make the layer smaller")
    height, width, channels = (1, 1, 1, *shape)[-3:]
    return height, width, channels


def fused_activation(graph: Graph, operator: Operator, output: Tensor) -> tuple[int, int]:
    """The clamped ends of the operator's output."""
    code = int(operator.options.get("fusedActivationFunction", 0))
    if code not in ACTIVATIONS:
        reason = f"fused activation {code} is neither none, ReLU nor ReLU6"
        refuse(graph, operator, reason, "use ReLU, ReLU6 or no activation")
    if code and float(output.scale) * 2**31 <= 6.0:
        refuse(graph, operator, f"its output's scale is only {output.scale}", "calibrate with real data")
    return activation_range(ACTIVATIONS[code], output.scale, output.zero_point)
