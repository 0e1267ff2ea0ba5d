"""The memory plan: where each activation lies in the one arena.

Offsets are fixed at conversion. Buffers whose lives overlap never share bytes: greedily, each in turn goes to
the lowest gap that takes it; of several orders the one with the smallest arena wins, and of those the one
with the lowest input: behind it a sensor works (cutlayer/sensor.h). Reshapes are aliases; ops that work
element by element write over their input where it is not needed again. A convolution at the end may make its
output a row at a time, as it is sent: then its input stays, and of the output one row is there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.ops.lowered import Lowered, int8_input, int8_output, refuse
from cutlayer_converter.ops.registry import ALIASES, lower
from cutlayer_converter.ops.targets import specialize
from cutlayer_converter.sensor import sensor_bytes
from cutlayer_converter.trainable import gradient_bytes, trains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutlayer_converter.graph import Graph, Tensor
    from cutlayer_converter.ops.targets import InstructionSet

ALIGNMENT = 16
SHUFFLES = 200


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
        sensor_offset: From here on a sensor may work (cl_head.sensor_offset); behind an interpreter's memory.
        sensor_bytes: That it works in.
        arena_bytes: A multiple of 16.
        weight_bytes: Weights, biases, multipliers and other constants of the kernels, in flash.
        rows: The C function that makes rows of the last op's output, or None when it runs whole.
        gradient_offset: Of what a trainable layer keeps for a sample's gradient, bytes.
    """

    steps: tuple[Step, ...]
    cuts: tuple[Cut, ...]
    input_offset: int
    sensor_offset: int
    sensor_bytes: int
    arena_bytes: int
    weight_bytes: int
    rows: str | None = None
    gradient_offset: int = 0


@dataclass(slots=True)
class Buffer:
    """Bytes that are needed from step `first` to step `last`."""

    size: int
    first: int
    last: int
    offset: int = 0

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed at one step."""
        return self.first <= other.last and other.first <= self.last


def plan(
    graph: Graph, instruction_set: InstructionSet = "portable", *, trainable_end: bool = False
) -> ArenaPlan:
    """Lowers every operator for `instruction_set` and places the activations.

    With `trainable_end` a last layer with weights keeps its portable kernel, whose weights training code
    reads and writes, and its input stays whole for the gradient. A convolution at the end makes rows if that
    takes less memory.

    Raises:
        ConvertError: An operator that the firmware lacks, naming it, the supported list and the way out; or a
            head without any operator.
    """
    lowered, roots = _lower_all(graph)
    if not lowered:
        message = "the head has no operator: nothing would run on the board"
        raise ConvertError(message, "cut the model after a layer that computes something")
    plans = [
        _plan(graph, lowered, roots, instruction_set, trainable_end=trainable_end, rows=rows)
        for rows in ([False, True] if lowered[-1].row_kernel else [False])
    ]
    return min(plans, key=lambda found: found.arena_bytes)


def _plan(
    graph: Graph,
    portable: list[Lowered],
    roots: dict[int, int],
    instruction_set: InstructionSet,
    *,
    trainable_end: bool,
    rows: bool,
) -> ArenaPlan:
    end = len(portable) - 1
    lowered = [specialize(item, instruction_set) for item in portable[:end]]
    last = portable[end]
    lowered.append(last if trainable_end else specialize(last, instruction_set, rows=rows))
    buffers = _buffers(graph, lowered, roots, rows=rows, keep=trainable_end)
    scratch = [Buffer(step.scratch_bytes, index, index) for index, step in enumerate(lowered)]
    gradient = Buffer(gradient_bytes(last) if trainable_end and trains(last) else 0, end, end)
    activations = {id(buffer): buffer for buffer in buffers.values()}.values()
    arena_bytes = place([*activations, *scratch, gradient], buffers[roots[graph.input.index]])

    def offset(tensor: Tensor | None) -> int:
        return 0 if tensor is None else buffers[roots[tensor.index]].offset

    steps = tuple(
        Step(
            lowered=item,
            input_offset=offset(item.input),
            second_offset=offset(item.second),
            output_offset=offset(item.output),
            scratch_offset=scratch[index].offset,
        )
        for index, item in enumerate(lowered)
    )
    arrays = (value for item in lowered for value in item.params.values() if hasattr(value, "nbytes"))
    return ArenaPlan(
        steps=steps,
        cuts=tuple(_cuts(graph, steps, roots, buffers)),
        input_offset=offset(graph.input),
        sensor_offset=offset(graph.input) + align(graph.input.count),
        sensor_bytes=sensor_bytes(graph),
        arena_bytes=arena_bytes,
        weight_bytes=sum(array.nbytes for array in arrays),
        rows=lowered[end].row_kernel if rows else None,
        gradient_offset=gradient.offset,
    )


def _lower_all(graph: Graph) -> tuple[list[Lowered], dict[int, int]]:
    """The kernel runs, and for each activation the tensor whose bytes it is."""
    roots = {graph.input.index: graph.input.index}
    lowered = []
    for operator in graph.operators:
        for tensor in graph.activations(operator):
            if tensor.index not in roots:
                refuse(graph, operator, f"nothing makes its input {tensor.name!r}", "convert the model again")
        if operator.kind in ALIASES:
            source, output = int8_input(graph, operator), int8_output(graph, operator)
            if source.count != output.count or source.zero_point != output.zero_point:
                refuse(graph, operator, "it changes size or zero point", "convert the model again")
            roots[output.index] = roots[source.index]
        else:
            item = lower(graph, operator)
            roots[item.output.index] = item.output.index
            lowered.append(item)
    if graph.output.index not in roots:
        message = f"nothing makes the head's output {graph.output.name!r}"
        raise ConvertError(message, "convert the Keras model again; head.tflite is damaged")
    return lowered, roots


def _last_uses(graph: Graph, lowered: list[Lowered], roots: dict[int, int]) -> dict[int, int]:
    """The last step that needs each root; the output is needed after the last one."""
    last = {}
    for index, item in enumerate(lowered):
        for tensor in (item.output, item.input, item.second):
            if tensor is not None:
                last[roots[tensor.index]] = index
    last.setdefault(roots[graph.input.index], 0)
    last[roots[graph.output.index]] = len(lowered)
    return last


def _buffers(
    graph: Graph, lowered: list[Lowered], roots: dict[int, int], *, rows: bool, keep: bool
) -> dict[int, Buffer]:
    """The buffer of each root; roots written over one another share it.

    With `rows` the output's has one row; with `keep` the last step's input is not written over.
    """
    last = _last_uses(graph, lowered, roots)
    source = roots[graph.input.index]
    buffers = {source: Buffer(graph.input.count, 0, last[source])}
    for index, item in enumerate(lowered):
        root, output = roots[item.input.index], roots[item.output.index]
        taken = item.second is not None and roots[item.second.index] == root
        is_end = index + 1 == len(lowered)
        if rows and is_end:
            buffers[output] = Buffer(item.row_count, index, last[output])
        elif (
            item.in_place
            and not taken
            and not (keep and is_end)
            and last[root] == index
            and item.input.count == item.output.count
        ):
            buffers[root].last = last[output]
            buffers[output] = buffers[root]
        else:
            buffers[output] = Buffer(item.output.count, index, last[output])
    return buffers


def place(buffers: list[Buffer], low: Buffer | None = None) -> int:
    """Gives every buffer its offset, and `low` as low a one as costs nothing; returns the arena's bytes."""
    buffers = [buffer for buffer in buffers if buffer.size]
    floor = max(
        sum(align(other.size) for other in buffers if other.first <= step <= other.last)
        for step in range(max(buffer.last for buffer in buffers) + 1)
    )
    best: tuple[tuple[int, int], list[int]] | None = None
    for order in _orders(buffers, low):
        found = _place_in(order), low.offset if low else 0
        if best is None or found < best[0]:
            best = found, [buffer.offset for buffer in buffers]
        if found == (floor, 0):
            break
    assert best is not None
    for buffer, offset in zip(buffers, best[1], strict=True):
        buffer.offset = offset
    return best[0][0]


def greedy(buffers: list[Buffer]) -> int:
    """As `place`, in one order only: the largest first, and of equals the one that comes last.

    So TensorFlow Lite Micro's GreedyMemoryPlanner does it.
    """
    order = sorted(enumerate(buffers), key=lambda item: (-align(item[1].size), -item[0]))
    return _place_in([buffer for _, buffer in order])


def _place_in(order: list[Buffer]) -> int:
    total = 0
    for position, buffer in enumerate(order):
        buffer.offset = _gap(buffer, order[:position])
        total = max(total, buffer.offset + align(buffer.size))
    return total


def _orders(buffers: list[Buffer], low: Buffer | None) -> Iterator[list[Buffer]]:
    """Orders to try; each with `low` first too, which puts it at 0."""
    generator = random.Random(0)
    orders = [
        sorted(buffers, key=lambda buffer: -buffer.size),
        sorted(buffers, key=lambda buffer: (buffer.first, -buffer.size)),
        sorted(buffers, key=lambda buffer: (buffer.first - buffer.last, -buffer.size)),
    ]
    for turn in range(len(orders) + SHUFFLES):
        order = orders[turn] if turn < len(orders) else generator.sample(buffers, len(buffers))
        yield order
        if low is not None:
            yield [low, *(buffer for buffer in order if buffer is not low)]


def _gap(buffer: Buffer, placed: list[Buffer]) -> int:
    """The lowest offset where no placed buffer that meets this one lies."""
    offset = 0
    for other in sorted((other for other in placed if other.meets(buffer)), key=lambda other: other.offset):
        if offset + align(buffer.size) <= other.offset:
            break
        offset = max(offset, other.offset + align(other.size))
    return offset


def align(size: int) -> int:
    """The size rounded up to the alignment of a place in the arena."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _cuts(
    graph: Graph, steps: tuple[Step, ...], roots: dict[int, int], buffers: dict[int, Buffer]
) -> Iterator[Cut]:
    """The places where one tensor alone is alive: the last step's output."""
    lowered = [step.lowered for step in steps]
    last = _last_uses(graph, lowered, roots)
    made = {roots[graph.input.index]}
    for index, item in enumerate(lowered):
        output = roots[item.output.index]
        made.add(output)
        if {root for root in made if last[root] > index} != {output}:
            continue
        end = index + 1 == len(lowered)
        yield Cut(
            op_count=index + 1,
            tensor=graph.output if end else item.output,
            offset=buffers[output].offset,
            activation_min=item.activation_min,
            activation_max=item.activation_max,
        )
