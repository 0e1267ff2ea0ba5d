"""The memory plan: where each activation lies in the one arena."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Tensor
    from cutlayer_converter.ops.lowered import Lowered


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel run; offsets into the arena in bytes (0 where the kernel has none)."""

    lowered: Lowered
    input_offset: int
    second_offset: int
    output_offset: int
    scratch_offset: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where the head may stop: the one tensor that is alive after `op_count` steps.

    Attributes:
        op_count: Steps of the plan to run (reshapes are none).
        tensor: What lies there: shape, scale, zero point, name.
        offset: Into the arena, bytes.
        activation_min: Clamped low end of the op's range.
        activation_max: Clamped high end of the op's range.
    """

    op_count: int
    tensor: Tensor
    offset: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, slots=True)
class ArenaPlan:
    """The head as kernel runs over one arena.

    Attributes:
        steps: In order of execution.
        cuts: Shallowest first; the last one is the end.
        input_offset: Of the head's input, bytes.
        arena_bytes: A multiple of 16.
        flash_bytes: Weights, multipliers, parameters and tables of the compiled head.
    """

    steps: tuple[Step, ...]
    cuts: tuple[Cut, ...]
    input_offset: int
    arena_bytes: int
    flash_bytes: int


def plan(graph: Graph) -> ArenaPlan:
    """Lowers every operator and places the activations.

    Raises:
        ConvertError: An operator that the firmware lacks, naming it, the supported list and the way out.
    """
    raise NotImplementedError
