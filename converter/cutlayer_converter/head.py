"""The head compiled but not written yet: what the converter knows once it is quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutlayer_converter.arena import ArenaPlan, plan
from cutlayer_converter.graph import Graph, read_graph
from cutlayer_converter.interpreter import Interpreted, interpret, memory_lines
from cutlayer_converter.manifest import find_first_cut
from cutlayer_converter.memory import memory_table
from cutlayer_converter.quantize import quantize_head
from cutlayer_converter.trainable import TrainableSpec, find_trainable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cutlayer_boards.spec import BoardSpec
    from cutlayer_converter.bundle import MemoryLine, Optimizer
    from cutlayer_converter.cut import Split
    from cutlayer_converter.trainable import Master


@dataclass(frozen=True, slots=True)
class Head:
    """A compiled head.

    Attributes:
        split: The Keras models before and after the cut.
        tflite: head.tflite.
        graph: The same, parsed.
        plan: Kernel runs over one arena.
        first_cut: Index of the shallowest cut that a host may choose.
        trainable: The layer that the board updates, or None.
        untrainable_reason: Why there is none.
        memory: The memory table.
        interpreted: The head for the interpreter, when the board's engine is that.
    """

    split: Split
    tflite: bytes
    graph: Graph
    plan: ArenaPlan
    first_cut: int
    trainable: TrainableSpec | None
    untrainable_reason: str | None
    memory: tuple[MemoryLine, ...]
    interpreted: Interpreted | None = None


def compile_head(
    split: Split,
    samples: NDArray[np.float32],
    optimizer: Optimizer,
    board: BoardSpec,
    master: Master = "float32",
    shallowest_cut: str | None = None,
) -> Head:
    """Quantizes the head on `samples` (float32 [n, ...]) and plans its memory.

    `shallowest_cut` is the earliest layer that a host may have the head stop after; None: the split's.

    Raises:
        ConvertError: It cannot be int8, has an op that the firmware or the board's engine lacks, or does not
            stop after `shallowest_cut`.
    """
    tflite = quantize_head(split.head, samples)
    graph = read_graph(tflite)
    first_cut = find_first_cut(split, plan(graph), shallowest_cut)
    arena_plan = plan(graph, board.instruction_set, trainable_end=True, first_cut=first_cut)
    found = find_trainable(arena_plan, optimizer, master)
    trainable, reason = (None, found) if isinstance(found, str) else (found, None)
    interpreted = interpret(tflite, graph, arena_plan, trainable) if board.engine == "tflm" else None
    memory = memory_table(interpreted.plan if interpreted else arena_plan, trainable, board)
    if interpreted:
        memory += memory_lines(interpreted)
    return Head(split, tflite, graph, arena_plan, first_cut, trainable, reason, memory, interpreted)
