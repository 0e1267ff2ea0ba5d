"""The RAM that TensorFlow Lite Micro's interpreter takes for a head, worked out as the interpreter does it.

Its memory has two ends. Persistent buffers grow down from the top: its objects, the tensors, the nodes, what
each kernel's Init and Prepare ask for. At the bottom lie, one after another in time,

    while kernels prepare   requests for scratch buffers, and the TfLiteTensors that the kernel looks at;
    while it plans          the requests, an AllocationInfo a buffer, and the planner's own lists;
    while it runs           the activations and scratch buffers, placed by its GreedyMemoryPlanner.

The larger of the three decides. Sizes are sizeof of the library's structs (Chirale_TensorFLowLite 2.0.0) on a
32-bit machine, where pointers and int have 4 bytes, built without TF_LITE_STATIC_MEMORY as PlatformIO does;
scratch buffers are those of CMSIS-NN with the DSP extension (a machine without takes fewer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutlayer_converter.placement import Buffer, align, greedy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cutlayer_converter.graph import Graph, Operator, Tensor

WORD_BYTES = 4
# firmware/lib/tflm: struct Opening and tflite::MicroInterpreter; MicroMutableOpResolver, and each of its ops.
OPENING_BYTES = 24
INTERPRETER_BYTES = 176
RESOLVER_BYTES = 12
RESOLVER_OP_BYTES = 44
# MicroAllocator::Create and StartModelAllocation: SingleArenaBufferAllocator, GreedyMemoryPlanner,
# MicroAllocator, MicroBuiltinDataAllocator, SubgraphAllocations.
ALLOCATOR_BYTES = 36 + 44 + 36 + 8 + 8
EVAL_TENSOR_BYTES = 12
NODE_BYTES = 44  # NodeAndRegistration
TENSOR_BYTES = 64 + 12 + WORD_BYTES  # TfLiteTensor, TfLiteAffineQuantization, its zero points' count
# The largest that a kernel of the resolver keeps for a node (CMSISNNSoftmaxParams), and the largest of its
# parsed options (TfLitePoolParams).
USER_DATA_BYTES = 64
OPTIONS_BYTES = 40
# ScratchBufferRequest, for all that there are and kMaxScratchBuffersPerOp more; ScratchBufferHandle.
REQUEST_BYTES = 12
REQUESTS_MORE = 12
HANDLE_BYTES = 4
# AllocationInfo, for every tensor and scratch buffer; GreedyMemoryPlanner::per_buffer_size(), for every one
# that it places.
ALLOCATION_BYTES = 24
PLANNER_BYTES = 40
# A convolution's Prepare makes TfLiteTensors itself, and once more in CalculateOpData; none is given back
# before its end.
PREPARED_TWICE = ("CONV_2D", "DEPTHWISE_CONV_2D")
# For padding between the parts that is not counted one by one: each is below the alignment, 16.
MARGIN_BYTES = 256


@dataclass(frozen=True, slots=True)
class Kept:
    """What a node's kernel asks for.

    Attributes:
        persistent_bytes: Arrays that Prepare allocates for good.
        scratch_bytes: Its scratch buffer; 0 for none.
    """

    persistent_bytes: int = 0
    scratch_bytes: int = 0


def memory_bytes(graph: Graph, operators: Sequence[Operator], end: Tensor) -> int:
    """RAM for the interpreter of `operators`, the last of which makes `end`: what it needs and a little more.

    A multiple of 16.
    """
    kept = [_kept(graph, operator) for operator in operators]
    scratch = [item.scratch_bytes for item in kept if item.scratch_bytes]
    kinds = len({operator.kind for operator in operators})
    state = align(OPENING_BYTES + INTERPRETER_BYTES + RESOLVER_BYTES + RESOLVER_OP_BYTES * kinds)
    tensors = {i for operator in operators for i in (*operator.inputs, *operator.outputs) if i >= 0}
    persistent = ALLOCATOR_BYTES + EVAL_TENSOR_BYTES * len(tensors) + HANDLE_BYTES * len(scratch)
    persistent += (NODE_BYTES + USER_DATA_BYTES + OPTIONS_BYTES) * len(operators)
    persistent += sum(item.persistent_bytes for item in kept)
    ends = sum(align(WORD_BYTES) + _tensor_bytes(tensor) for tensor in (graph.input, end))
    requests = REQUEST_BYTES * (len(scratch) + REQUESTS_MORE)
    buffers = list(_buffers(graph, operators, kept, end))
    planning = WORD_BYTES + ALLOCATION_BYTES * (len(tensors) + len(scratch)) + PLANNER_BYTES * len(buffers)
    preparing = max(_preparing(graph, operator) for operator in operators)
    # The input's and the output's TfLiteTensors come last, when planning is over.
    bottom = max(requests + max(preparing, planning), greedy(buffers) + ends)
    return align(state + persistent + bottom + MARGIN_BYTES)


def _kept(graph: Graph, operator: Operator) -> Kept:
    """What Prepare of micro/kernels/cmsis_nn asks for, by CMSIS-NN's get_buffer_size functions."""
    inputs, output = graph.inputs(operator), graph.output_of(operator)
    source, weights = inputs[0], inputs[1] if len(inputs) > 1 else None
    assert source is not None
    if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        assert weights is not None
        # Multipliers and shifts, one a channel.
        persistent_bytes = 2 * align(WORD_BYTES * output.shape[-1])
        window = weights.shape[1] * weights.shape[2]
        if operator.kind == "CONV_2D":
            # arm_convolve_s8: two columns of int16. A pointwise one with stride 1 needs none.
            strides = (operator.options["strideH"], operator.options["strideW"])
            columns = 0 if window == 1 and strides == (1, 1) else 2
        else:
            # arm_depthwise_conv_s8_opt: one window of int16; with a depth multiplier the plain kernel runs.
            columns = 1 if source.shape[-1] == output.shape[-1] else 0
        return Kept(persistent_bytes, 2 * columns * window * source.shape[-1])
    if operator.kind == "FULLY_CONNECTED" and len(output.shape) > 2:
        return Kept(2 * align(WORD_BYTES * output.shape[-1]))
    if operator.kind == "AVERAGE_POOL_2D":  # arm_avgpool_s8: an int32 a channel
        return Kept(0, WORD_BYTES * source.shape[-1])
    if operator.kind == "MEAN":  # int32 sums
        return Kept(0, WORD_BYTES * output.count)
    return Kept()


def _tensor_bytes(tensor: Tensor) -> int:
    return TENSOR_BYTES + WORD_BYTES * max(1, len(tensor.scales))


def _preparing(graph: Graph, operator: Operator) -> int:
    """The TfLiteTensors that the kernel's Prepare looks at."""
    seen = [tensor for tensor in (*graph.inputs(operator), graph.output_of(operator)) if tensor is not None]
    return sum(map(_tensor_bytes, seen)) * (2 if operator.kind in PREPARED_TWICE else 1)


def _buffers(
    graph: Graph, operators: Sequence[Operator], kept: Sequence[Kept], end: Tensor
) -> Iterator[Buffer]:
    """What GreedyMemoryPlanner places: the activations, in the tensors' order, and then the scratch buffers.

    A reshape has a buffer of its own here: the library copies.
    """
    first, last = {graph.input.index: 0}, {graph.input.index: 0, end.index: len(operators)}
    for position, operator in enumerate(operators, 1):
        for tensor in (*graph.activations(operator), graph.output_of(operator)):
            first.setdefault(tensor.index, position)
            last[tensor.index] = max(position, last.get(tensor.index, 0))
    for index in sorted(first):
        yield Buffer(graph.tensors[index].count, first[index], last[index])
    for position, item in enumerate(kept, 1):
        if item.scratch_bytes:
            yield Buffer(item.scratch_bytes, position, position)
