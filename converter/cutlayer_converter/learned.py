"""The trainable layer as a board has trained it, and head.tflite with it in place."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.arena import plan
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.graph import packed, read_graph, schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cutlayer_converter.bundle import TrainableLayer


@dataclass(frozen=True, slots=True, eq=False)
class LearnedLayer:
    """What SPEC.md's READ and WELCOME say of the trainable layer.

    Attributes:
        weights: int8, shaped as in the kernel (`TrainableLayer.weight_shape`).
        bias: int32 [channels].
        weight_scales: float32 [channels].
        master_weights: float32, shaped as `weights`.
        master_bias: float32 [channels].
        output_scale: of the layer's output; real value = output_scale * (q - output_zero_point).
        output_zero_point: int8.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    weight_scales: NDArray[np.float32]
    master_weights: NDArray[np.float32]
    master_bias: NDArray[np.float32]
    output_scale: float
    output_zero_point: int

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], spec: TrainableLayer) -> LearnedLayer:
        """Puts the flat arrays `weights`, `bias`, `weight_scales`, `master` and `output` in shape.

        `master` has the weights and then the bias; `output` has scale and zero point.

        Raises:
            ConvertError: One is missing, or is not of the layer's size.
        """
        weights, channels = spec.weight_count, spec.channel_count
        sizes = {
            "weights": weights,
            "bias": channels,
            "weight_scales": channels,
            "master": weights + channels,
            "output": 2,
        }
        for name, due in sizes.items():
            found = arrays[name].size if name in arrays else 0
            if found != due:
                raise ConvertError(
                    f"the board's layer has {found} {name}, {spec.layer!r} of the bundle {due}",
                    "name the bundle that the board was built with",
                )
        scale, zero_point = arrays["output"]
        return cls(
            weights=arrays["weights"].astype(np.int8).reshape(spec.weight_shape),
            bias=arrays["bias"].astype(np.int32),
            weight_scales=arrays["weight_scales"].astype(np.float32),
            master_weights=arrays["master"][:weights].astype(np.float32).reshape(spec.weight_shape),
            master_bias=arrays["master"][weights:].astype(np.float32),
            output_scale=float(scale),
            output_zero_point=int(zero_point),
        )


def converted_layer(tflite: bytes, spec: TrainableLayer) -> LearnedLayer:
    """The layer as head.tflite has it: what a board begins with."""
    last = plan(read_graph(tflite), trainable_end=True).steps[-1].lowered
    scales = np.asarray(last.weight_scales, np.float32)
    weights = last.params["weights"].reshape(spec.weight_shape)
    bias = last.params["bias"]
    by_channel = scales.reshape(channel_shape(spec))
    return LearnedLayer(
        weights=weights,
        bias=bias,
        weight_scales=scales,
        master_weights=weights * by_channel,
        master_bias=bias * (last.input.scale * scales),
        output_scale=float(last.output.scale),
        output_zero_point=last.output.zero_point,
    )


def channel_shape(spec: TrainableLayer) -> tuple[int, ...]:
    """The shape in which one value a channel meets the kernel's weights."""
    ones = (1,) * (len(spec.weight_shape) - 1)
    return (*ones, -1) if spec.kind == "depthwise" else (-1, *ones)


def patch_head(tflite: bytes, layer: LearnedLayer) -> bytes:
    """head.tflite with the learned weights, bias, scales and output scale; TFLM gives the board's bytes."""
    graph = read_graph(tflite)
    last = plan(graph, trainable_end=True).steps[-1].lowered
    model = schema().ModelT.InitFromPackedBuf(tflite, 0)
    subgraph = model.subgraphs[0]
    operator = subgraph.operators[last.operator.index]
    axis = 3 if last.operator.kind == "DEPTHWISE_CONV_2D" else 0
    shape = graph.tensors[last.operator.inputs[1]].shape
    bias_scales = last.input.scale * layer.weight_scales
    _set_constant(model, operator, 1, layer.weights.reshape(shape), layer.weight_scales, axis)
    _set_constant(model, operator, 2, layer.bias, bias_scales, 0)
    # Behind the layer there are reshapes at most: their outputs have its scale.
    for item in graph.operators[last.operator.index :]:
        for index in item.outputs:
            quantization = subgraph.tensors[index].quantization
            quantization.scale = np.asarray([layer.output_scale], np.float32)
            quantization.zeroPoint = np.asarray([layer.output_zero_point], np.int64)
    return packed(model)


def _set_constant(
    model: Any, operator: Any, position: int, values: NDArray[Any], scales: NDArray[np.float32], axis: int
) -> None:
    """Gives an operator a constant of its own: TensorFlow lets equal ones share tensor and buffer."""
    inputs = [int(index) for index in operator.inputs]
    inputs += [-1] * (position + 1 - len(inputs))
    tensors = model.subgraphs[0].tensors
    tensor = _own_tensor(model, inputs[position])
    tensor.shape = list(values.shape)
    tensor.type = getattr(schema().TensorType, values.dtype.name.upper())
    quantization = schema().QuantizationParametersT()
    quantization.scale = scales
    quantization.zeroPoint = np.zeros(len(scales), np.int64)
    quantization.quantizedDimension = axis
    tensor.quantization = quantization
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    model.buffers[tensor.buffer].data = np.frombuffer(little.tobytes(), np.uint8)
    inputs[position] = next(index for index, other in enumerate(tensors) if other is tensor)
    operator.inputs = inputs


def _own_tensor(model: Any, index: int) -> Any:
    """Tensor `index` when one operator alone takes it, else a new one; its buffer is its own."""
    subgraph = model.subgraphs[0]
    users = [list(operator.inputs).count(index) for operator in subgraph.operators]
    if index >= 0 and sum(users) == 1:
        tensor = subgraph.tensors[index]
    else:
        tensor = copy.copy(subgraph.tensors[index]) if index >= 0 else schema().TensorT()
        tensor.name = tensor.name or b"bias"
        subgraph.tensors.append(tensor)
    # Buffer 0 stays empty: it is that of all activations.
    if tensor.buffer == 0 or _count(subgraph.tensors, tensor.buffer) > 1:
        model.buffers.append(schema().BufferT())
        tensor.buffer = len(model.buffers) - 1
    return tensor


def _count(tensors: Sequence[Any], buffer: int) -> int:
    return sum(tensor.buffer == buffer for tensor in tensors)
