"""Kernels for what a board's processor can do, in place of the portable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.ops import armv7em, long_multiply
from cutlayer_converter.ops.packed import one_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutlayer_boards.spec import InstructionSet
    from cutlayer_converter.ops.lowered import Lowered

SPECIALIZE: dict[InstructionSet, Callable[[Lowered], Lowered]] = {
    "portable": lambda lowered: lowered,
    "long-multiply": long_multiply.specialize,
    "armv7e-m": armv7em.specialize,
}


def specialize(lowered: Lowered, instruction_set: InstructionSet, *, rows: bool = False) -> Lowered:
    """The same run by a faster kernel that gives the same bytes, where there is one.

    With `rows` the kernel's output keeps its rows, because they will be asked for one by one.
    """
    special = SPECIALIZE[instruction_set](lowered)
    return special if rows else one_row(special)


def specialize_trained(lowered: Lowered, instruction_set: InstructionSet) -> Lowered:
    """The same for a trainable layer, whose kernel reads weights as training code writes them."""
    return armv7em.specialize_trained(lowered) if instruction_set == "armv7e-m" else lowered
