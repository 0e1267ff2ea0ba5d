"""Kernels for what a board's processor can do, in place of the portable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cutlayer_converter.ops import armv7em

if TYPE_CHECKING:
    from cutlayer_converter.ops.lowered import Lowered

InstructionSet = Literal["portable", "armv7e-m"]
INSTRUCTION_SETS: tuple[InstructionSet, ...] = ("portable", "armv7e-m")


def specialize(lowered: Lowered, instruction_set: InstructionSet, *, rows: bool = False) -> Lowered:
    """The same run by a faster kernel that gives the same bytes, where there is one.

    With `rows` the kernel's output keeps its rows, because they will be asked for one by one.
    """
    return armv7em.specialize(lowered, rows=rows) if instruction_set == "armv7e-m" else lowered
