"""The trainable layer: the head's last op, when it has weights that the board can update."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from cutlayer_converter.ops.multiplier import ACTIVATIONS

if TYPE_CHECKING:
    from cutlayer_converter.arena import ArenaPlan
    from cutlayer_converter.ops.lowered import Lowered

Kind = Literal["conv2d", "depthwise", "dense"]
Master = Literal["float32", "bfloat16"]
KINDS: dict[str, Kind] = {
    "cl_conv2d": "conv2d",
    "cl_conv2d_plain_armv7em": "conv2d",
    "cl_depthwise": "depthwise",
    "cl_dense": "dense",
}


@dataclass(frozen=True, slots=True)
class TrainableSpec:
    """What `struct cl_trainable` says of the last op.

    Attributes:
        kind: The layer's kind.
        optimizer: The optimizer that memory is planned for; "adam" allows SGD too.
        weight_shape: As in the kernel: [out, height, width, in], [height, width, out] for depthwise,
            [out, in] for dense.
        weight_scales: One a channel, as converted.
        channel_count: Output channels; one bias each.
        activation: The fused activation.
        input_scale: Of the layer's input.
        output_scale: As converted.
        master: What master weights and moments are kept as.
    """

    kind: Kind
    optimizer: Literal["adam", "sgd"]
    weight_shape: tuple[int, ...]
    weight_scales: tuple[float, ...]
    channel_count: int
    activation: Literal["none", "relu", "relu6"]
    input_scale: float
    output_scale: float
    master: Master = "float32"

    @property
    def weight_count(self) -> int:
        """Weights without biases."""
        return prod(self.weight_shape)


# CL_TRAIN_ROWS and CL_TRAIN_BLOCK (train.h).
WAITING_ROWS = 8
WAITING_BLOCK = 4


def trains(last: Lowered) -> bool:
    """Whether the board can update the weights of this op, the head's last."""
    return last.kernel in KINDS and not (KINDS[last.kernel] == "dense" and last.params["input"][1] != 1)


def rows_of(last: Lowered) -> str | None:
    """The C function that makes the trainable layer's rows, where that is not the portable one."""
    return None if last.kernel == f"cl_{KINDS[last.kernel]}" else last.row_kernel


def gradient_bytes(last: Lowered) -> int:
    """What a sample's gradient takes of the arena: cl_train_gradient_bytes (train.h)."""
    channels = int(last.params["output"][2])
    blocks = -(-channels // WAITING_BLOCK)
    return 2 * WAITING_ROWS * WAITING_BLOCK * blocks + channels + -(-last.output.count // 8)


def find_trainable(
    plan: ArenaPlan, optimizer: Literal["adam", "sgd"], master: Master = "float32"
) -> TrainableSpec | str:
    """The trainable layer, or the reason why the last op is none."""
    last = plan.steps[-1].lowered
    kind = KINDS.get(last.kernel)
    params = last.params
    if kind is None:
        return f"the head ends with {last.operator.kind}, which has no weights to train"
    if not trains(last):
        return f"the Dense layer runs at {params['input'][1]} positions; only one is trained"
    channels = params["output"][2]
    shape = params["weights"].shape
    return TrainableSpec(
        kind=kind,
        optimizer=optimizer,
        weight_shape=shape[1:] if kind == "depthwise" else shape,
        weight_scales=last.weight_scales,
        channel_count=channels,
        activation=ACTIVATIONS[int(last.operator.options.get("fusedActivationFunction", 0))],
        input_scale=float(last.input.scale),
        output_scale=float(last.output.scale),
        master=master,
    )
