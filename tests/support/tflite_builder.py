"""Builds .tflite models an operator at a time, so that scales, zero points and weights are free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np

from cutlayer_converter.graph import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NONE, RELU, RELU6 = 0, 1, 3
SAME, VALID = 0, 1

# The table of options that an operator's kind takes, where it takes any.
OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
}


class TfliteBuilder:
    """One subgraph; tensors and operators are added in order of execution."""

    def __init__(self) -> None:
        self._schema: Any = schema()
        self._model = self._schema.ModelT()
        self._model.version = 3
        self._model.buffers = [self._schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = self._schema.SubGraphT()
        self._graph.tensors = []
        self._graph.operators = []

    def activation(self, shape: Sequence[int], scale: float, zero_point: int) -> int:
        """An int8 tensor with one scale."""
        return self._tensor(shape, "INT8", [scale], zero_point, 0, 0)

    def constant(
        self,
        values: NDArray[Any],
        scales: Sequence[float] = (),
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        """A constant tensor of the array's type (int8 or int32)."""
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        number = len(self._model.buffers) - 1
        return self._tensor(values.shape, values.dtype.name.upper(), scales, zero_point, axis, number)

    def shape(self, tensor: int) -> list[int]:
        """A tensor's shape."""
        return list(self._graph.tensors[tensor].shape)

    def operator(self, kind: str, inputs: Sequence[int], output: int, **options: Any) -> int:
        """Adds an operator and returns its output."""
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(self._schema.BuiltinOperator, kind))
        operator.inputs = list(inputs)
        operator.outputs = [output]
        if kind in OPTIONS:
            table = getattr(self._schema, f"{OPTIONS[kind]}T")()
            for name, value in options.items():
                assert hasattr(table, name), f"{OPTIONS[kind]} has no {name}"
                setattr(table, name, value)
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, OPTIONS[kind])
            operator.builtinOptions = table
        self._graph.operators.append(operator)
        return output

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The model as bytes."""
        self._graph.inputs = list(inputs)
        self._graph.outputs = list(outputs)
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _code(self, builtin: int) -> int:
        for index, code in enumerate(self._model.operatorCodes):
            if code.builtinCode == builtin:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode = builtin
        code.deprecatedBuiltinCode = min(builtin, 127)
        code.version = 1
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _tensor(
        self,
        shape: Sequence[int],
        dtype: str,
        scales: Sequence[float],
        zero_point: int,
        axis: int,
        buffer: int,
    ) -> int:
        tensor = self._schema.TensorT()
        tensor.shape = [int(size) for size in shape]
        tensor.type = getattr(self._schema.TensorType, dtype)
        tensor.buffer = buffer
        tensor.name = f"tensor {len(self._graph.tensors)}"
        if len(scales):
            quantization = self._schema.QuantizationParametersT()
            quantization.scale = np.asarray(scales, np.float32)
            quantization.zeroPoint = np.full(len(scales), zero_point, np.int64)
            quantization.quantizedDimension = axis
            tensor.quantization = quantization
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1
