"""Kernels for what a board's processor can do, in place of the portable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph
    from cutlayer_converter.ops.lowered import Lowered

InstructionSet = Literal["portable", "armv7e-m"]


def specialize(graph: Graph, lowered: Lowered, instruction_set: InstructionSet) -> Lowered:
    """The same kernel run by a faster kernel that gives the same bytes, where there is one."""
    del graph, instruction_set
    return lowered
