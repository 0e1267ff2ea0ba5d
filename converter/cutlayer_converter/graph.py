"""head.tflite as plain dataclasses.

Only what the compiled head needs is kept: int8 tensors with their quantization, int32 biases, and operators
with their options, in the file's order (which is an order of execution).
"""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.errors import ConvertError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of the head. Real value = scales * (q - zero_point).

    Attributes:
        index: Position in `Graph.tensors`.
        name: TensorFlow's name: the fused layers' names joined by ";".
        shape: With the batch of 1 in front, as in the file.
        dtype: "int8", "int32" or another NumPy name.
        scales: float32 [1], or [channels] for per-channel weights; empty when not quantized.
        zero_point: 0 for weights.
        channel_axis: The axis of `scales` when there is more than one.
        values: The constant, or None for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float32]
    zero_point: int
    channel_axis: int
    values: NDArray[Any] | None

    @property
    def count(self) -> int:
        """Elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def scale(self) -> np.float32:
        """The one scale of an activation."""
        return np.float32(self.scales[0])


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the head.

    Attributes:
        index: Position in `Graph.operators`.
        kind: TFLite's name, such as "CONV_2D".
        inputs: Indices of tensors; -1 for an optional one that is not there.
        outputs: Indices of tensors.
        options: The builtin options by TFLite's names, enums as integers.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A head: one int8 input, one int8 output."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input: Tensor
    output: Tensor

    def inputs(self, operator: Operator) -> tuple[Tensor | None, ...]:
        """The operator's input tensors; None for an optional one that is not there."""
        return tuple(self.tensors[index] if index >= 0 else None for index in operator.inputs)

    def activations(self, operator: Operator) -> tuple[Tensor, ...]:
        """The operator's inputs that are no constants."""
        return tuple(tensor for tensor in self.inputs(operator) if tensor and tensor.values is None)

    def output_of(self, operator: Operator) -> Tensor:
        """The operator's output."""
        return self.tensors[operator.outputs[0]]


def read_graph(tflite: bytes) -> Graph:
    """Reads a .tflite file.

    Raises:
        ConvertError: The bytes are no TFLite model, or it has several subgraphs, inputs or outputs, or its
            input or output is not int8 with batch 1.
    """
    if len(tflite) < 8 or tflite[4:8] != b"TFL3":
        raise _damaged(f"{len(tflite)} bytes that do not start with a TFL3 header")
    try:
        return _graph(schema().ModelT.InitFromPackedBuf(tflite, 0))
    except (struct.error, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(str(error)) from error


def _damaged(what: str) -> ConvertError:
    return ConvertError(
        f"the head is no TFLite model: {what}", "convert the Keras model again; head.tflite is damaged"
    )


def _graph(model: Any) -> Graph:
    subgraphs = model.subgraphs or []
    if len(subgraphs) != 1:
        message = f"the head has {len(subgraphs)} subgraphs; the firmware runs one"
        raise ConvertError(message, "remove control flow (loops, conditions) from the layers before the cut")
    subgraph = subgraphs[0]
    tensors = tuple(_tensor(index, item, model.buffers) for index, item in enumerate(subgraph.tensors))
    operators = tuple(
        _operator(index, item, model.operatorCodes, len(tensors))
        for index, item in enumerate(subgraph.operators or [])
    )
    return Graph(
        tensors=tensors,
        operators=operators,
        input=_end(tensors, subgraph.inputs, "input"),
        output=_end(tensors, subgraph.outputs, "output"),
    )


@cache
def schema() -> ModuleType:
    """TFLite's flatbuffers classes: TensorFlow's file, without importing TensorFlow (three seconds)."""
    package = importlib.util.find_spec("tensorflow")
    if package is None or not package.submodule_search_locations:
        message = "TensorFlow is not installed; the converter reads .tflite files with its schema"
        raise ConvertError(message, "pip install tensorflow")
    path = Path(package.submodule_search_locations[0], "lite", "python", "schema_py_generated.py")
    spec = importlib.util.spec_from_file_location("cutlayer_converter.tflite_schema", path)
    if spec is None or spec.loader is None:
        message = f"TensorFlow's TFLite schema is not at {path}"
        raise ConvertError(message, "install the TensorFlow version that pyproject.toml names")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packed(model: Any) -> bytes:
    """A .tflite file of the schema's ModelT."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@cache
def _names(enumeration: str) -> dict[int, str]:
    return {value: name for name, value in vars(getattr(schema(), enumeration)).items() if type(value) is int}


def _tensor(index: int, item: Any, buffers: list[Any]) -> Tensor:
    shape = tuple(int(size) for size in item.shape) if item.shape is not None else ()
    dtype = _names("TensorType").get(item.type, str(item.type)).lower()
    quantization = item.quantization
    scales = np.zeros(0, np.float32)
    zero_point, axis = 0, 0
    if quantization is not None and quantization.scale is not None:
        scales = np.asarray(quantization.scale, np.float32)
        zero_point = int(quantization.zeroPoint[0]) if quantization.zeroPoint is not None else 0
        axis = int(quantization.quantizedDimension)
    data = buffers[item.buffer].data
    values = None
    if data is not None and len(data) and dtype in ("int8", "int32"):
        values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.dtype(dtype).newbyteorder("<"))
        values = values.reshape(shape)
    name = item.name.decode(errors="replace") if item.name else f"tensor {index}"
    return Tensor(index, name, shape, dtype, scales, zero_point, axis, values)


def _operator(index: int, item: Any, codes: list[Any], tensor_count: int) -> Operator:
    code = codes[item.opcodeIndex]
    builtin = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    kind = _names("BuiltinOperator").get(builtin, f"operator {builtin}")
    if kind == "CUSTOM" and code.customCode:
        kind = f"CUSTOM {code.customCode.decode(errors='replace')}"
    options = {} if item.builtinOptions is None else dict(vars(item.builtinOptions))
    inputs = tuple(int(tensor) for tensor in item.inputs) if item.inputs is not None else ()
    outputs = tuple(int(tensor) for tensor in item.outputs) if item.outputs is not None else ()
    if not outputs or min(*inputs, *outputs, -1) < -1 or max(*inputs, *outputs, 0) >= tensor_count:
        message = f"operator {index} ({kind}) takes tensors {inputs} to {outputs} of {tensor_count}"
        raise ValueError(message)
    return Operator(index, kind, inputs, outputs, options)


def _end(tensors: tuple[Tensor, ...], indices: Any, which: str) -> Tensor:
    if indices is None or len(indices) != 1:
        count = 0 if indices is None else len(indices)
        message = f"the head has {count} {which}s; the firmware takes one"
        raise ConvertError(message, f"give the Keras model exactly one {which} at the cut")
    tensor = tensors[int(indices[0])]
    if tensor.dtype != "int8" or len(tensor.scales) != 1:
        message = f"the head's {which} {tensor.name!r} is {tensor.dtype}, not quantized int8"
        raise ConvertError(message, "quantize the head to full int8, input and output included")
    if not tensor.shape or tensor.shape[0] != 1:
        message = f"the head's {which} {tensor.name!r} has shape {tensor.shape}; the firmware takes batch 1"
        raise ConvertError(message, "fix the batch to 1 when converting to TFLite")
    return tensor
