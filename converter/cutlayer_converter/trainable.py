"""The trainable layer: the head's last op, when it has weights that the board can update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cutlayer_converter.arena import ArenaPlan


@dataclass(frozen=True, slots=True)
class TrainableSpec:
    """What `struct cl_trainable` says of the last op.

    Attributes:
        kind: The layer's kind.
        optimizer: The optimizer that memory is planned for; "adam" allows SGD too.
        weight_shape: As in the kernel: [out, height, width, in], or [height, width, out] for depthwise.
        channel_count: Output channels; one bias each.
        activation: The fused activation.
        input_scale: Of the layer's input.
    """

    kind: Literal["conv2d", "depthwise", "dense"]
    optimizer: Literal["adam", "sgd"]
    weight_shape: tuple[int, ...]
    channel_count: int
    activation: Literal["none", "relu", "relu6"]
    input_scale: float


def find_trainable(plan: ArenaPlan, optimizer: Literal["adam", "sgd"]) -> TrainableSpec | str:
    """The trainable layer, or the reason why the last op is none."""
    raise NotImplementedError
