"""An operator turned into a kernel and its parameters: what emit.py prints and what the tests call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutlayer_converter.graph import Operator, Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A kernel run.

    Attributes:
        operator: Where it comes from.
        kernel: The C function, such as "cl_conv2d".
        params_type: The C struct of its parameters, such as "struct cl_conv_params".
        params: Field to value: int, (height, width, channels) for a shape, or a NumPy array for a pointer to
            constants.
        input: First activation.
        second: Second activation, or None.
        output: What it makes.
        scratch_bytes: Needed while it runs.
        activation_min: Clamped low end of its output.
        activation_max: Clamped high end of its output.
    """

    operator: Operator
    kernel: str
    params_type: str
    params: Mapping[str, Any]
    input: Tensor
    second: Tensor | None
    output: Tensor
    scratch_bytes: int = 0
    activation_min: int = -128
    activation_max: int = 127
