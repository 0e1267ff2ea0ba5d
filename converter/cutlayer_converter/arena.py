"""The memory plan: where each activation lies in the one arena.

Offsets are fixed at conversion. Buffers whose lives overlap never share bytes: greedily, each in turn goes to
the lowest gap that takes it; of several orders the one with the smallest arena wins, and of those the one
with the lowest input: behind it a sensor works (cutlayer/sensor.h). Reshapes are aliases; ops that work
element by element write over their input where it is not needed again. A convolution at the end may make its
output a row at a time, as it is sent: then its input stays, and of the output one row is there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.fuse import fuse
from cutlayer_converter.ops.lowered import Lowered, int8_input, int8_output, refuse
from cutlayer_converter.ops.registry import ALIASES, lower
from cutlayer_converter.ops.targets import specialize, specialize_trained
from cutlayer_converter.placement import Buffer, align, peak, place
from cutlayer_converter.sensor import sensor_bytes
from cutlayer_converter.trainable import gradient_bytes, trains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutlayer_boards.spec import InstructionSet
    from cutlayer_converter.graph import Graph, Tensor


# What a faster kernel for the trainable layer may make the arena larger by.
FAST_TRAINED_BYTES = 1024


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

    @property
    def stops(self) -> tuple[Cut, ...]:
        """The cuts that have not vanished in a fused pair."""
        return tuple(cut for cut in self.cuts if cut.op_count)


def plan(
    graph: Graph,
    instruction_set: InstructionSet = "portable",
    *,
    trainable_end: bool = False,
    first_cut: int = 0,
) -> ArenaPlan:
    """Lowers every operator for `instruction_set` and places the activations.

    With `trainable_end` a last layer with weights keeps them as training code reads and writes them, under a
    kernel of `instruction_set` if that makes the arena little larger, and its input stays whole for the
    gradient. A convolution at the end makes rows if that takes less memory. So do pairs of convolutions
    before it (fuse.py), if no cut from `first_cut` on (-1: the deepest) lies between them; cuts that vanish
    so have op_count 0.

    Raises:
        ConvertError: An operator that the firmware lacks, naming it, the supported list and the way out; or a
            head without any operator.
    """
    lowered, roots = _lower_all(graph)
    if not lowered:
        message = "the head has no operator: nothing would run on the board"
        raise ConvertError(message, "cut the model after a layer that computes something")
    head = _Head(graph, lowered, roots, instruction_set, trainable_end, first_cut)
    last = specialize_trained(lowered[-1], instruction_set)
    if not trainable_end or last is lowered[-1]:
        return head.smallest()
    plain, fast = head.smallest(), replace(head, trained=last).smallest()
    return fast if fast.arena_bytes <= plain.arena_bytes + FAST_TRAINED_BYTES else plain


@dataclass(frozen=True, slots=True)
class _Head:
    """What is planned: the portable runs, and what is asked of the plan."""

    graph: Graph
    portable: list[Lowered]
    roots: dict[int, int]
    instruction_set: InstructionSet
    trainable_end: bool
    first_cut: int
    trained: Lowered | None = None  # in place of a trainable end

    def smallest(self) -> ArenaPlan:
        """The plan with the smallest arena."""
        return min((self.plan(rows=rows) for rows in self.endings), key=lambda found: found.arena_bytes)

    @property
    def endings(self) -> list[bool]:
        """Whether the last op makes rows: the choices. A reshape behind it has other rows."""
        last = self.portable[-1]
        return [False, True] if last.row_kernel and last.output.index == self.graph.output.index else [False]

    def plan(self, *, rows: bool) -> ArenaPlan:
        """The runs for the instruction set, some of them fused, and where everything lies."""

        def specialized(runs: list[Lowered]) -> list[Lowered]:
            *before, last = runs
            if self.trainable_end:
                special = self.trained or last
            else:
                special = specialize(last, self.instruction_set, rows=rows)
            return [*(specialize(run, self.instruction_set) for run in before), special]

        def peak_bytes(runs: list[Lowered]) -> int:
            return self._lives(specialized(runs), rows=rows).peak()

        inner = self._inner(fixed=rows or self.trainable_end)
        lowered = specialized(fuse(self.portable, self.instruction_set, inner, peak_bytes))
        lives = self._lives(lowered, rows=rows)
        buffers = lives.activations
        arena_bytes = place(lives.all, buffers[self.roots[self.graph.input.index]])

        def offset(tensor: Tensor | None) -> int:
            return 0 if tensor is None else buffers[self.roots[tensor.index]].offset

        steps = tuple(
            Step(
                lowered=item,
                input_offset=offset(item.input),
                second_offset=offset(item.second),
                output_offset=offset(item.output),
                scratch_offset=scratch.offset,
            )
            for item, scratch in zip(lowered, lives.scratch, strict=True)
        )
        input_offset = offset(self.graph.input)
        return ArenaPlan(
            steps=steps,
            cuts=tuple(self._cuts(steps, buffers)),
            input_offset=input_offset,
            sensor_offset=input_offset + align(self.graph.input.count),
            sensor_bytes=sensor_bytes(self.graph),
            arena_bytes=arena_bytes,
            weight_bytes=sum(item.table_bytes for item in lowered),
            rows=lowered[-1].row_kernel if rows else None,
            gradient_offset=lives.gradient.offset,
        )

    def _lives(self, lowered: list[Lowered], *, rows: bool) -> _Lives:
        end, last = len(lowered) - 1, self.portable[-1]
        trained = self.trainable_end and trains(last)
        return _Lives(
            activations=_buffers(self.graph, lowered, self.roots, rows=rows, keep=self.trainable_end),
            scratch=[Buffer(step.scratch_bytes, index, index) for index, step in enumerate(lowered)],
            gradient=Buffer(gradient_bytes(last) if trained else 0, end, end),
        )

    def _alone(self) -> list[int]:
        """The runs after which one tensor alone is alive, their output: where the head may be cut."""
        last = _last_uses(self.graph, self.portable, self.roots)
        made, found = {self.roots[self.graph.input.index]}, []
        for index, item in enumerate(self.portable):
            output = self.roots[item.output.index]
            made.add(output)
            if {root for root in made if last[root] > index} == {output}:
                found.append(index)
        return found

    def _inner(self, *, fixed: bool) -> set[int]:
        """Tensors that may vanish in a fused pair: made by one run, needed by the next alone, no cut kept.

        With `fixed` the last run is not fused.
        """
        kept = {self.portable[index].output.index for index in self._alone()[self.first_cut :]}
        users = Counter(
            self.roots[tensor.index]
            for item in self.portable
            for tensor in (item.input, item.second)
            if tensor is not None
        )
        found = {
            first.output.index
            for first, second in pairwise(self.portable)
            if first.output.index == second.input.index and users[self.roots[first.output.index]] == 1
        }
        if fixed:
            found.discard(self.portable[-1].input.index)
        return found - kept

    def _cuts(self, steps: tuple[Step, ...], buffers: dict[int, Buffer]) -> Iterator[Cut]:
        """The places where one tensor alone is alive, those in a fused pair with op_count 0."""
        counts = {step.lowered.output.index: index for index, step in enumerate(steps, 1)}
        for index in self._alone():
            item = self.portable[index]
            op_count = counts.get(item.output.index, 0)
            yield Cut(
                op_count=op_count,
                tensor=self.graph.output if index + 1 == len(self.portable) else item.output,
                offset=buffers[self.roots[item.output.index]].offset if op_count else 0,
                activation_min=item.activation_min,
                activation_max=item.activation_max,
            )


@dataclass(frozen=True, slots=True)
class _Lives:
    """What is in memory, and when: activations by their root, scratch memory by step."""

    activations: dict[int, Buffer]
    scratch: list[Buffer]
    gradient: Buffer

    @property
    def all(self) -> list[Buffer]:
        """Each buffer once."""
        activations = {id(buffer): buffer for buffer in self.activations.values()}
        return [*activations.values(), *self.scratch, self.gradient]

    def peak(self) -> int:
        """Bytes needed at the worst step."""
        return peak(self.all)


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
