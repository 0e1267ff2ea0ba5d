"""Bytes of a compiled head that are not TensorFlow Lite Micro's, at every cut, for many random inputs.

The portable kernels run on this computer, a board's own kernels in QEMU: one boot takes a batch of inputs.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_converter.arena import plan
from cutlayer_converter.counted import build_program, check_machine, defines_for, head_sources, run_program
from cutlayer_converter.emit import emit
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.graph import read_graph
from cutlayer_converter.verify import Oracle, native_head, random_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cutlayer_boards.spec import BoardSpec, InstructionSet
    from cutlayer_converter.arena import ArenaPlan
    from cutlayer_converter.verify import NativeHead, NativeSet

# What the emulator writes in one boot lies in a temporary file.
BATCH_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class ByteFigures:
    """A comparison.

    Attributes:
        inputs: Random inputs, each run by TFLM, natively and on the board.
        cuts: Places where the head stops; the last is its end.
        compared: Bytes of both kinds of kernels, over all inputs and cuts; and those of the head with pairs
            of convolutions fused, where the planner fuses more when only the end is wanted.
        differing_native: Of them, those of the kernels in plain C that are not TFLM's.
        differing_board: Those of the board's kernels.
    """

    inputs: int
    cuts: int
    compared: int
    differing_native: int
    differing_board: int


def measure_bytes(
    tflite: bytes,
    inputs: int,
    board: BoardSpec,
    instruction_set: InstructionSet,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> ByteFigures:
    """Compares `tflite` with TFLM on `inputs` inputs; `progress` is told how many are done.

    The board runs the kernels for `instruction_set`; this computer does too, or the portable ones when those
    are not in plain C.

    Raises:
        ConvertError: `tflite_micro`, a compiler or the emulator is missing, or the board is none that this
            can run on.
    """
    check_machine(board)
    oracle, generator = Oracle(tflite), np.random.default_rng(seed)
    natively: NativeSet = "portable" if instruction_set == "armv7e-m" else instruction_set
    compared = here = on_board = 0
    with ExitStack() as stack:
        heads = [
            stack.enter_context(native_head(tflite, natively, cut)) for cut in _first_cuts(tflite, natively)
        ]
        boards = [
            stack.enter_context(_emulated_head(tflite, board, instruction_set, cut))
            for cut in _first_cuts(tflite, instruction_set)
        ]
        graph, cuts = heads[0].graph, len(heads[0].plan.cuts)
        batch = max(1, BATCH_BYTES // max(_bytes_at(emulated.plan) for emulated in boards))
        for first in range(0, inputs, batch):
            numbers = range(first, min(first + batch, inputs))
            samples = [random_sample(generator, graph.input.shape, number) for number in numbers]
            found = [emulated.run(samples) for emulated in boards]
            for number, sample in enumerate(samples):
                oracle.run(sample)
                for head in heads:
                    expected = _expected(oracle, head.plan)
                    here += int((_at_every_cut(head, sample) != expected).sum())
                    compared += expected.size
                for emulated, theirs in zip(boards, found, strict=True):
                    expected = _expected(oracle, emulated.plan)
                    on_board += int((theirs[number] != expected).sum())
                    compared += expected.size
            progress(numbers.stop)
    return ByteFigures(inputs, cuts, compared, here, on_board)


def _first_cuts(tflite: bytes, instruction_set: InstructionSet) -> list[int]:
    """0 for a head that stops at every cut, and -1 for one that only ends, if it is planned otherwise."""
    ending = plan(read_graph(tflite), instruction_set, first_cut=-1)
    return [0] if len(ending.stops) == len(ending.cuts) else [0, -1]


def _bytes_at(arena_plan: ArenaPlan) -> int:
    """Bytes at all places where the head stops."""
    return sum(cut.tensor.count for cut in arena_plan.stops)


def _expected(oracle: Oracle, arena_plan: ArenaPlan) -> NDArray[np.int8]:
    """TFLM's bytes there, of its last run."""
    return np.concatenate([oracle.tensor(cut.tensor.index).reshape(-1) for cut in arena_plan.stops])


def _at_every_cut(head: NativeHead, sample: NDArray[np.int8]) -> NDArray[np.int8]:
    """The bytes at every cut, shallowest first, each run going on from the last."""
    start, done, found = head.plan.input_offset, 0, []
    head.arena[start : start + sample.size] = sample.reshape(-1)
    for cut in head.plan.stops:
        found.append(head.go_on(done, cut).reshape(-1))
        done = cut.op_count
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class EmulatedHead:
    """A head on the emulated board; `run` gives int8 [samples, bytes at every cut]."""

    plan: ArenaPlan
    run: Callable[[list[NDArray[np.int8]]], NDArray[np.int8]]


@contextmanager
def _emulated_head(
    tflite: bytes, board: BoardSpec, instruction_set: InstructionSet, first_cut: int
) -> Iterator[EmulatedHead]:
    graph = read_graph(tflite)
    arena_plan = plan(graph, instruction_set, first_cut=first_cut)
    with tempfile.TemporaryDirectory(prefix="cutlayer-bench-") as name:
        folder = Path(name)
        emit(graph, arena_plan, model_id=bytes(32), trainable=None, out=folder)
        inputs, outputs = folder / "inputs", folder / "outputs"
        defines = ["-DBENCH_COUNT", f'-DINPUTS="{inputs}"', f'-DOUTPUTS="{outputs}"']
        defines += defines_for(instruction_set)
        sources = [folder / "cutlayer_model.c", *head_sources()]
        program = build_program("bench_bytes", folder, sources, board, defines)

        def run(samples: list[NDArray[np.int8]]) -> NDArray[np.int8]:
            inputs.write_bytes(b"".join(sample.tobytes() for sample in samples))
            lines = run_program(program, board, options=())
            return _read(outputs, lines, len(samples), arena_plan)

        yield EmulatedHead(arena_plan, run)


def _read(outputs: Path, lines: list[list[str]], samples: int, arena_plan: ArenaPlan) -> NDArray[np.int8]:
    each = _bytes_at(arena_plan)
    found = np.fromfile(outputs, np.int8)
    if lines != [["runs", str(samples)]] or found.size != samples * each:
        message = f"the emulated head wrote {found.size:,} bytes and {lines}, not {samples * each:,}"
        raise ConvertError(message, f"is there room in {outputs.parent.parent}?")
    return found.reshape(samples, each)
