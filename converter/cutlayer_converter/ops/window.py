"""Windows over height and width: strides and TFLite's padding, for convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutlayer_converter.ops.lowered import refuse

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator

SAME = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Strides, and the padding before the first row and column."""

    stride_height: int
    stride_width: int
    pad_top: int
    pad_left: int

    def fields(self) -> dict[str, int]:
        """As fields of the kernels' parameter structs."""
        return {
            "stride_height": self.stride_height,
            "stride_width": self.stride_width,
            "pad_top": self.pad_top,
            "pad_left": self.pad_left,
        }


def window_of(
    graph: Graph,
    operator: Operator,
    kernel: tuple[int, int],
    input_size: tuple[int, int],
    output_size: tuple[int, int],
) -> Window:
    """Works out the padding; sizes are (height, width). Refuses dilation and sizes that do not fit."""
    options = operator.options
    dilation = (int(options.get("dilationHFactor", 1)), int(options.get("dilationWFactor", 1)))
    if dilation != (1, 1):
        refuse(graph, operator, f"its dilation is {dilation}", "set dilation_rate to 1 or cut before it")
    strides = (int(options["strideH"]), int(options["strideW"]))
    if max(*strides, *kernel) > 255 or min(*strides, *kernel) < 1:
        reason = f"its kernel is {kernel} and its stride {strides}; both are 1 to 255"
        refuse(graph, operator, reason, "use a smaller kernel or stride")
    same = int(options["padding"]) == SAME
    pads = []
    for size, window, stride, output in zip(input_size, kernel, strides, output_size, strict=True):
        expected = -(-size // stride) if same else (size - window + stride) // stride
        if output != expected or output < 1:
            reason = f"{size} elements under a window of {window} give {expected}, not {output}"
            refuse(graph, operator, reason, "convert the Keras model again")
        pads.append(max((output - 1) * stride + window - size, 0) // 2 if same else 0)
    return Window(strides[0], strides[1], pads[0], pads[1])
