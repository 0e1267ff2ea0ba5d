"""Pairs of convolutions that run row by row, so that what lies between them is never whole in memory.

Depth-first or patch-based inference (Lin et al., "MCUNetV2", 2021), with a row of the output as the patch:
firmware/lib/cutlayer/src/kernels/fused.c.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from cutlayer_converter.ops.lowered import Lowered
from cutlayer_converter.ops.targets import specialize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cutlayer_converter.ops.targets import InstructionSet

KERNEL = "cl_fused"
ALIGNMENT = 16


def fuse(
    runs: list[Lowered],
    instruction_set: InstructionSet,
    inner: Collection[int],
    peak_bytes: Callable[[list[Lowered]], int],
) -> list[Lowered]:
    """Fuses pairs of neighbours as long as that makes the memory plan smaller.

    Args:
        runs: The portable kernel runs, in order.
        instruction_set: Whose kernels the fused runs use.
        inner: Indices of the tensors that may vanish: one run makes them, the next alone needs them.
        peak_bytes: Memory that a list of runs takes at its worst.
    """
    while True:
        pairs = [
            [*runs[:index], join(first, second, instruction_set), *runs[index + 2 :]]
            for index, (first, second) in enumerate(pairwise(runs))
            if first.output.index in inner and first.row_kernel and second.row_kernel
        ]
        best = min(pairs, key=peak_bytes, default=runs)
        if peak_bytes(best) >= peak_bytes(runs):
            return runs
        runs = best


def join(first: Lowered, second: Lowered, instruction_set: InstructionSet) -> Lowered:
    """Two runs as one, by kernels that make rows."""
    first, second = (specialize(run, instruction_set, rows=True) for run in (first, second))
    lines_bytes = -(-second.params["kernel_height"] * first.row_count // ALIGNMENT) * ALIGNMENT
    return Lowered(
        operator=second.operator,
        kernel=KERNEL,
        params_type="cl_fused_params",
        params={
            "first": first.row_kernel,
            "first_params": first,
            "second": second.row_kernel,
            "second_params": second,
            "between": first.params["output"],
            "output": second.params["output"],
            "kernel_height": second.params["kernel_height"],
            "stride_height": second.params["stride_height"],
            "pad_top": second.params["pad_top"],
            "scratch": lines_bytes,
        },
        input=first.input,
        second=None,
        output=second.output,
        scratch_bytes=lines_bytes + max(first.scratch_bytes, second.scratch_bytes),
        activation_min=second.activation_min,
        activation_max=second.activation_max,
    )
