"""Pairs of convolutions that run row by row, so that what lies between them is never whole in memory.

Depth-first or patch-based inference (Lin et al., "MCUNetV2", 2021), with rows of the output as the patch:
firmware/lib/cutlayer/src/kernels/fused.c.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from cutlayer_converter.ops.lowered import Lowered
from cutlayer_converter.ops.targets import specialize
from cutlayer_converter.placement import align

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cutlayer_boards.spec import InstructionSet

KERNEL = "cl_fused"


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
            return _with_more_rows(runs, instruction_set, peak_bytes)
        runs = best


def _with_more_rows(
    runs: list[Lowered], instruction_set: InstructionSet, peak_bytes: Callable[[list[Lowered]], int]
) -> list[Lowered]:
    """The same with as many rows at a time as cost no memory: each call of a kernel has its price."""
    for index, run in enumerate(runs):
        if run.kernel != KERNEL:
            continue
        first, second = run.parts
        for rows in range(run.params["output"][0], 1, -1):
            more = [*runs[:index], join(first, second, instruction_set, rows), *runs[index + 1 :]]
            if peak_bytes(more) <= peak_bytes(runs):
                runs = more
                break
    return runs


def join(first: Lowered, second: Lowered, instruction_set: InstructionSet, rows: int = 1) -> Lowered:
    """Two runs as one, by kernels that make rows: `rows` of the output at a time."""
    first, second = (specialize(run, instruction_set, rows=True) for run in (first, second))
    lines = (rows - 1) * second.params["stride_height"] + second.params["kernel_height"]
    lines_bytes = align(lines * first.row_count)
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
            "rows": rows,
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
