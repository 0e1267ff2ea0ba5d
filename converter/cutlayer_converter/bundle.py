"""The bundle: what `cutlayer convert` makes, and its manifest. No TensorFlow here.

manifest.json        this file's `Manifest`
head.tflite          the int8 head: any TensorFlow Lite Micro runs it
head.keras           the head in float, for `cutlayer export`
tail.keras           the tail, taking float32 activations of the cut
firmware/            cutlayer_model.c and .h: the compiled head, for any processor
firmware/armv7e-m/   the same with weights laid out for the kernels of that instruction set; so is
                     firmware/long-multiply/
firmware/tflm/       for boards with custom_engine = tflm: the same for TensorFlow Lite Micro's interpreter,
                     and cutlayer_engine.cc
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from cutlayer_converter.errors import ConvertError

BUNDLE_VERSION = 2
MANIFEST = "manifest.json"
HEAD = "head.tflite"
FLOAT_HEAD = "head.keras"
TAIL = "tail.keras"
FIRMWARE = "firmware"
TFLM = "tflm"

Kind = Literal["conv2d", "depthwise", "dense"]
Activation = Literal["none", "relu", "relu6"]
Optimizer = Literal["sgd", "adam"]
Section = Literal["ram", "flash"]
FLOAT_MAX = 2.0**128 - 2.0**104  # the largest float32
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The head's input. Real value = scale * (q - zero_point).

    Attributes:
        shape: Without the batch, as the Keras model has it.
        scale: float32.
        zero_point: int8.
    """

    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class CutSpec:
    """A place where the compiled head can stop.

    Attributes:
        layer: Name of the Keras layer whose output lies there.
        op_count: Ops of the compiled head to run.
        shape: Of the smashed data, without the batch.
        scale: float32; real value = scale * (q - zero_point).
        zero_point: int8.
        activation_min: Clamped low end: an output there has no gradient.
        activation_max: Clamped high end.
    """

    layer: str
    op_count: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    activation_min: int
    activation_max: int

    @property
    def count(self) -> int:
        """Elements of the smashed data."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class TrainableLayer:
    """The layer that the board updates.

    Attributes:
        layer: Name of the Keras layer.
        kind: The kernel.
        weight_shape: As in the kernel: [out, height, width, in]; depthwise [height, width, out].
        channel_count: Output channels; one bias each.
        input_scale: float32, of the layer's input.
        activation: Fused into the layer.
        samples_max: Samples that a step takes before the int32 gradient could overflow.
    """

    layer: str
    kind: Kind
    weight_shape: tuple[int, ...]
    channel_count: int
    input_scale: float
    activation: Activation
    samples_max: int

    @property
    def weight_count(self) -> int:
        """Weights without biases."""
        count = 1
        for size in self.weight_shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class MemoryLine:
    """One line of the memory table."""

    name: str
    section: Section
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """manifest.json.

    Attributes:
        bundle_version: `BUNDLE_VERSION`.
        model_id: SHA-256 (hex) of the head's and the tail's content; the board says it in WELCOME.
        board: Name of the board that the budget is for.
        cut_layer: The Keras layer whose output is the smashed data.
        input: The head's input.
        cuts: Shallowest first; the last one is the smashed data's.
        first_cut: Index of the shallowest that a host may choose; the board refuses those before it.
        trainable: The layer that the board updates, or None.
        untrainable_reason: Why there is none.
        class_names: Of the tail's outputs, or None when not given.
        optimizer: What memory was planned for; "adam" allows SGD too.
        memory: The table, line by line.
        ram_budget_bytes: What the board has.
        flash_budget_bytes: What the board has.
    """

    bundle_version: int
    model_id: str
    board: str
    cut_layer: str
    input: InputSpec
    cuts: tuple[CutSpec, ...]
    first_cut: int
    trainable: TrainableLayer | None
    untrainable_reason: str | None
    class_names: tuple[str, ...] | None
    optimizer: Optimizer
    memory: tuple[MemoryLine, ...]
    ram_budget_bytes: int
    flash_budget_bytes: int

    @property
    def smashed(self) -> CutSpec:
        """The cut that training uses."""
        return self.cuts[-1]

    @property
    def ram_bytes(self) -> int:
        """RAM in use by the table."""
        return sum(line.bytes for line in self.memory if line.section == "ram")

    @property
    def flash_bytes(self) -> int:
        """Flash in use by the table."""
        return sum(line.bytes for line in self.memory if line.section == "flash")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers, as manifest.json has them."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def load_manifest(folder: Path | str) -> Manifest:
    """Reads the manifest of the bundle in `folder`.

    Raises:
        ConvertError: There is no bundle, or its manifest is damaged or of another version.
    """
    path = Path(folder) / MANIFEST
    again = "make the bundle again with `cutlayer convert`"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConvertError(f"{folder}: no bundle there ({MANIFEST} is missing)", again) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConvertError(f"{path}: not a manifest: {error}", again) from error
    version = data.get("bundle_version") if isinstance(data, dict) else None
    if version != BUNDLE_VERSION:
        raise ConvertError(f"{path}: bundle version {version}; this is for version {BUNDLE_VERSION}", again)
    try:
        manifest = _decode(Manifest, data, "manifest")
    except ValueError as error:
        raise ConvertError(f"{path}: {error}", again) from error
    if not re.fullmatch("[0-9a-f]{64}", manifest.model_id) or not manifest.cuts:
        raise ConvertError(f"{path}: no valid model_id, or no cuts", again)
    if not 0 <= manifest.first_cut < len(manifest.cuts):
        raise ConvertError(f"{path}: first_cut is {manifest.first_cut} of {len(manifest.cuts)} cuts", again)
    return manifest


def _decode(kind: type[T], data: object, where: str) -> T:
    """Builds dataclass `kind` from parsed JSON; ValueError names the field at fault."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} is {data!r}, not an object")
    values: dict[str, object] = {}
    for name, hint in typing.get_type_hints(kind).items():
        if name not in data:
            raise ValueError(f"{where} lacks {name!r}")
        values[name] = _value(hint, data[name], f"{where}.{name}")
    return kind(**values)


def _value(hint: Any, data: object, where: str) -> object:
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _decode(typing.cast("type[object]", hint), data, where)
    if origin is types.UnionType:
        return None if data is None else _value(arguments[0], data, where)
    if origin is tuple and isinstance(data, list):
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is Literal and data in arguments:
        return data
    # Python's parser takes Infinity and NaN for JSON; a scale is a number.
    if hint is float and type(data) in (int, float) and abs(typing.cast("float", data)) <= FLOAT_MAX:
        return float(typing.cast("float", data))
    if hint in (int, str) and type(data) is hint:
        return data
    raise ValueError(f"{where} is {data!r}, not {getattr(hint, '__name__', hint)}")
