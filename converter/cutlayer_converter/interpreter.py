"""The head for TensorFlow Lite Micro's interpreter (firmware/include/cutlayer/engine.h).

The interpreter runs all ops before the trainable layer from a flatbuffer of their own; the trainable layer
stays a compiled op behind it. Without a trainable layer the interpreter runs the whole head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cutlayer_converter.arena import ArenaPlan, Step
from cutlayer_converter.bundle import MemoryLine
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.graph import Graph, Operator, Tensor, packed, schema
from cutlayer_converter.interpreter_memory import memory_bytes
from cutlayer_converter.ops.lowered import Lowered
from cutlayer_converter.placement import Buffer, place
from cutlayer_converter.trainable import gradient_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutlayer_converter.trainable import TrainableSpec

LIBRARY = "Chirale_TensorFLowLite 2.0.0"

# The library's op resolver: TFLite's name of an op to the method of MicroMutableOpResolver that adds it.
RESOLVER: Mapping[str, str] = MappingProxyType(
    {
        "ADD": "AddAdd",
        "AVERAGE_POOL_2D": "AddAveragePool2D",
        "CONV_2D": "AddConv2D",
        "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
        "EXPAND_DIMS": "AddExpandDims",
        "FULLY_CONNECTED": "AddFullyConnected",
        "MAX_POOL_2D": "AddMaxPool2D",
        "MEAN": "AddMean",
        "MUL": "AddMul",
        "PAD": "AddPad",
        "PADV2": "AddPadV2",
        "QUANTIZE": "AddQuantize",
        "RELU": "AddRelu",
        "RELU6": "AddRelu6",
        "RESHAPE": "AddReshape",
        "SOFTMAX": "AddSoftmax",
        "SQUEEZE": "AddSqueeze",
    }
)

# Its code with the kernels of a convolutional head: an estimate for the budget.
CODE_BYTES = 96 * 1024


@dataclass(frozen=True, slots=True)
class Interpreted:
    """A head for the interpreter.

    Attributes:
        tflite: The flatbuffer that the interpreter runs.
        kinds: Its ops by TFLite's names, each once.
        memory_bytes: RAM that the interpreter is given, at the end of the arena.
        input_count: int8 elements that go in.
        output_count: int8 elements that come out.
        plan: The table: the interpreter's op, the trainable layer's, and every cut of the compiled head, with
            op_count 0 where the interpreter does not stop. Its arena ends before the interpreter.
    """

    tflite: bytes
    kinds: tuple[str, ...]
    memory_bytes: int
    input_count: int
    output_count: int
    plan: ArenaPlan

    @property
    def adders(self) -> tuple[str, ...]:
        """What adds the ops to a MicroMutableOpResolver."""
        return tuple(RESOLVER[kind] for kind in self.kinds)


def interpret(
    tflite: bytes,
    graph: Graph,
    plan: ArenaPlan,
    trainable: TrainableSpec | None,
    resolver: Mapping[str, str] = RESOLVER,
) -> Interpreted:
    """Gives the ops of head.tflite before the trainable layer to the interpreter.

    Args:
        tflite: head.tflite.
        graph: The same, parsed.
        plan: The compiled head.
        trainable: The last op, or None when the interpreter runs that too.
        resolver: Ops that the library has.

    Raises:
        ConvertError: The library lacks an op, or nothing is before the trainable layer.
    """
    if trainable is None:
        operators, end = graph.operators, graph.output
    else:
        last = plan.steps[-1].lowered
        operators, end = graph.operators[: last.operator.index], last.input
        if len(plan.steps) == 1:
            message = "the head is the trainable layer alone: nothing is left for the interpreter to run"
            raise ConvertError(message, "cut later, or take custom_engine out of the board's .ini")
    lacking = sorted({operator.kind for operator in operators} - set(resolver))
    if lacking:
        message = f"{LIBRARY} lacks {', '.join(lacking)}"
        raise ConvertError(message, f"cut before it, or use only these: {', '.join(sorted(resolver))}")
    return Interpreted(
        tflite=truncate(tflite, operators, end),
        kinds=tuple(sorted({operator.kind for operator in operators})),
        memory_bytes=memory_bytes(graph, operators, end),
        input_count=graph.input.count,
        output_count=end.count,
        plan=_table(graph, plan, operators, end, trainable),
    )


def truncate(tflite: bytes, operators: tuple[Operator, ...], end: Tensor) -> bytes:
    """A flatbuffer of the first `operators` alone, whose output is `end`, without what they do not use."""
    model = schema().ModelT.InitFromPackedBuf(tflite, 0)
    subgraph = model.subgraphs[0]
    kept = subgraph.operators[: len(operators)]
    used = {int(i) for item in kept for ends in (item.inputs, item.outputs) for i in ends if i >= 0}
    numbers = {old: new for new, old in enumerate(sorted(used | {int(subgraph.inputs[0]), end.index}))}
    subgraph.tensors = [subgraph.tensors[old] for old in numbers]
    for item in kept:
        item.inputs = [numbers.get(int(old), -1) for old in item.inputs]
        item.outputs = [numbers[int(old)] for old in item.outputs]
    subgraph.operators = kept
    subgraph.inputs = [numbers[int(subgraph.inputs[0])]]
    subgraph.outputs = [numbers[end.index]]
    model.operatorCodes = _used(model.operatorCodes, kept, "opcodeIndex")
    empty = model.buffers[0]  # by convention, the buffer of every tensor that is no constant
    buffers = [tensor for tensor in subgraph.tensors if model.buffers[tensor.buffer].data is not None]
    for tensor in subgraph.tensors:
        if tensor not in buffers:
            tensor.buffer = 0
    model.buffers = [empty, *_used(model.buffers, buffers, "buffer", first=1)]
    model.metadata, model.metadataBuffer, model.signatureDefs = None, None, None
    return packed(model)


def _used(items: list[Any], users: list[Any], field: str, first: int = 0) -> list[Any]:
    """Those of `items` that the field of some user names, in order; the users' fields are renumbered."""
    numbers = {old: new for new, old in enumerate(sorted({getattr(user, field) for user in users}), first)}
    for user in users:
        setattr(user, field, numbers[getattr(user, field)])
    return [items[old] for old in numbers]


def memory_lines(interpreted: Interpreted) -> tuple[MemoryLine, ...]:
    """What the interpreter adds to the memory table."""
    return (
        MemoryLine("interpreter", "ram", interpreted.memory_bytes),
        MemoryLine("interpreter's model", "flash", len(interpreted.tflite)),
        MemoryLine("interpreter's code", "flash", CODE_BYTES),
    )


def _table(
    graph: Graph,
    plan: ArenaPlan,
    operators: tuple[Operator, ...],
    end: Tensor,
    trainable: TrainableSpec | None,
) -> ArenaPlan:
    """The interpreter's op and the trainable layer's over one arena."""
    ends = len(plan.steps)
    source, made = Buffer(graph.input.count, 0, 0), Buffer(end.count, 0, 2)
    buffers = [source, made]
    if trainable is not None:
        last = plan.steps[-1].lowered
        output = Buffer(last.row_count if plan.rows else last.output.count, 1, 2)
        scratch, gradient = Buffer(last.scratch_bytes, 1, 1), Buffer(gradient_bytes(last), 1, 1)
        buffers += [output, scratch, gradient]
    arena_bytes = place(buffers)
    run = Lowered(operators[-1], "cl_engine_run", "cl_engine", {}, graph.input, None, end)
    steps = [Step(run, source.offset, 0, made.offset, arena_bytes)]
    offsets = {ends: (1, made.offset)}
    if trainable is not None:
        steps.append(Step(last, made.offset, 0, output.offset, scratch.offset))
        offsets = {ends - 1: (1, made.offset), ends: (2, output.offset)}
    cuts = []
    for cut in plan.cuts:
        op_count, offset = offsets.get(cut.op_count, (0, 0))
        cuts.append(replace(cut, op_count=op_count, offset=offset))
    return ArenaPlan(
        steps=tuple(steps),
        cuts=tuple(cuts),
        input_offset=source.offset,
        sensor_offset=arena_bytes,
        sensor_bytes=plan.sensor_bytes,
        arena_bytes=arena_bytes,
        weight_bytes=sum(step.lowered.table_bytes for step in steps),
        rows=None if trainable is None else plan.rows,
        gradient_offset=0 if trainable is None else gradient.offset,
    )
