"""Runs a converted head kernel by kernel through cffi, with the converter's parameters and memory plan."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from core import SOURCE, core_library

from cutlayer_converter.arena import plan
from cutlayer_converter.graph import read_graph
from cutlayer_converter.ops.lowered import Lowered
from cutlayer_converter.verify import NativeSet, Oracle, compare

if TYPE_CHECKING:
    from cffi import FFI
    from numpy.typing import NDArray

    from cutlayer_converter.arena import Cut

GUARD_BYTES = 64
GUARD = 0x5A


@cache
def kernels() -> tuple[FFI, Any]:
    """The head and every kernel, compiled once."""
    sources = [SOURCE / "head.c", *sorted((SOURCE / "kernels").rglob("*.c"))]
    return core_library(sources, ["cutlayer/head.h", "cutlayer/kernels.h", "cutlayer/kernels_long.h"])


class HeadRunner:
    """A head whose arena lies between two guards; a kernel may write its output and scratch only."""

    def __init__(self, tflite: bytes, instruction_set: NativeSet = "portable", *, first_cut: int = 0) -> None:
        self.graph = read_graph(tflite)
        self.plan = plan(self.graph, instruction_set, first_cut=first_cut)
        self._ffi, self._lib = kernels()
        self._keep: list[Any] = []
        self._params = [self._parameters(step.lowered) for step in self.plan.steps]

    def run(self, sample: NDArray[np.int8], op_count: int | None = None) -> NDArray[np.int8]:
        """The arena after `op_count` kernels (all by default), none of which makes rows."""
        ffi = self._ffi
        memory = np.full(self.plan.arena_bytes + 2 * GUARD_BYTES, GUARD, np.int8)
        arena = memory[GUARD_BYTES:-GUARD_BYTES]
        start = self.plan.input_offset
        arena[start : start + sample.size] = sample.reshape(-1)
        base = ffi.cast("int8_t *", ffi.from_buffer(memory)) + GUARD_BYTES
        for step, params in list(zip(self.plan.steps, self._params, strict=True))[:op_count]:
            before = memory.copy()
            getattr(self._lib, step.lowered.kernel)(
                params,
                base + step.input_offset,
                base + step.second_offset,
                base + step.output_offset,
                base + step.scratch_offset,
            )
            for offset, size in (
                (step.output_offset, step.lowered.output.count),
                (step.scratch_offset, step.lowered.scratch_bytes),
            ):
                start = GUARD_BYTES + offset
                before[start : start + size] = memory[start : start + size]
            assert (memory == before).all(), f"{step.lowered.kernel} wrote outside its output and scratch"
        return arena

    def at(self, sample: NDArray[np.int8], cut: Cut) -> NDArray[np.int8]:
        """The bytes at a cut."""
        if self.plan.rows is None or cut is not self.plan.cuts[-1]:
            return self.run(sample, cut.op_count)[cut.offset : cut.offset + cut.tensor.count]
        step, params, count = self.plan.steps[-1], self._params[-1], self.plan.steps[-1].lowered.row_count
        arena = self.run(sample, cut.op_count - 1)
        base = self._ffi.cast("int8_t *", self._ffi.from_buffer(arena))
        source, *places = [
            base + offset for offset in (step.input_offset, step.output_offset, step.scratch_offset)
        ]
        rows = []
        for row in range(cut.tensor.count // count):
            before = arena.copy()
            getattr(self._lib, self.plan.rows)(params, source, 0, *places, row, 1)
            rows.append(arena[step.output_offset : step.output_offset + count].copy())
            for offset, size in (
                (step.output_offset, count),
                (step.scratch_offset, step.lowered.scratch_bytes),
            ):
                before[offset : offset + size] = arena[offset : offset + size]
            assert (arena == before).all(), f"{self.plan.rows} wrote outside its row and scratch"
        return np.concatenate(rows)

    def _parameters(self, lowered: Lowered) -> Any:
        params = self._ffi.new(f"struct {lowered.params_type} *")
        for field, value in lowered.params.items():
            if isinstance(value, np.ndarray):
                array = np.ascontiguousarray(value)
                self._keep.append(array)
                setattr(params, field, self._ffi.cast(f"{array.dtype.name}_t *", array.ctypes.data))
            elif isinstance(value, tuple):
                setattr(params, field, value)
            elif isinstance(value, str):
                setattr(params, field, getattr(self._lib, value))
            elif isinstance(value, Lowered):
                setattr(params, field, self._parameters(value))
            else:
                setattr(params, field, self._ffi.NULL if value is None else int(value))
        self._keep.append(params)
        return params


def check_against_tflm(tflite: bytes, samples: list[NDArray[np.int8]], *, first_cut: int = 0) -> None:
    """Every byte at every cut from `first_cut` on equals TFLM's, with each set of kernels in plain C."""
    runners = [HeadRunner(tflite, kernels, first_cut=first_cut) for kernels in get_args(NativeSet)]
    oracle = Oracle(tflite)
    for number, sample in enumerate(samples):
        oracle.run(sample)
        for runner in runners:
            for cut in runner.plan.cuts[first_cut:]:
                compare(runner.at(sample, cut), oracle.tensor(cut.tensor.index), cut, number)
