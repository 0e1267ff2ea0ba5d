"""The head as C: cutlayer_model.c and cutlayer_model.h, and cutlayer_engine.cc for an interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.ops.lowered import Lowered
from cutlayer_converter.trainable import rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cutlayer_converter.arena import ArenaPlan, Step
    from cutlayer_converter.graph import Graph
    from cutlayer_converter.interpreter import Interpreted
    from cutlayer_converter.trainable import TrainableSpec

C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "float32": "float"}
VALUES_A_LINE = {"int8": 20, "uint8": 24, "int32": 8, "float32": 6}
INTERPRETER = "cl_engine_run"


@dataclass(frozen=True, slots=True)
class Array:
    """A constant table: C type, name, and its values in lines."""

    c_type: str
    name: str
    count: int
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Params:
    """The parameters of a kernel run as the templates print them; the comment is for people."""

    comment: str
    c_type: str
    name: str
    fields: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Run:
    """A kernel run as the templates print it: kernel and offsets, and the name of its parameters."""

    step: Step
    params_name: str


def emit(
    graph: Graph,
    plan: ArenaPlan,
    *,
    model_id: bytes,
    trainable: TrainableSpec | None,
    out: Path,
    first_cut: int = 0,
    interpreted: Interpreted | None = None,
) -> list[Path]:
    """Writes cutlayer_model.c and cutlayer_model.h into the existing folder `out`; returns their paths.

    `model_id` is the bundle's SHA-256 (32 bytes), `first_cut` the index of the shallowest cut that a host may
    choose. With `interpreted` its plan takes the place of `plan`, and cutlayer_engine.cc holds the
    interpreter's model.
    """
    import jinja2

    if len(model_id) != 32:
        message = f"model_id has {len(model_id)} bytes, not 32"
        raise ValueError(message)
    if interpreted is not None:
        plan = interpreted.plan
    arrays: list[Array] = []
    params: list[Params] = []
    runs = [
        Run(step, _params(f"op{index}", step.lowered, arrays, params))
        for index, step in enumerate(plan.steps)
    ]
    if trainable is not None:
        arrays.append(_array("trainable_weight_scale", np.array(trainable.weight_scales, np.float32)))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cutlayer_converter"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    values = {
        "arrays": arrays,
        "first_cut": first_cut,
        "graph": graph,
        "interpreted": interpreted,
        "input_shape": _shape(graph.input.shape),
        "model_id": ", ".join(f"0x{byte:02x}" for byte in model_id),
        "name": model_id.hex()[:16],
        "number": _float,
        "params": params,
        "plan": plan,
        "runs": runs,
        "shape": lambda tensor: _shape(tensor.shape),
        "trainable": trainable,
        "trainable_rows": rows_of(plan.steps[-1].lowered) if trainable else None,
        "weight_count": 0 if trainable is None else trainable.weight_count,
    }
    names = ["cutlayer_model.c", "cutlayer_model.h"]
    if interpreted is not None:
        names.append("cutlayer_engine.cc")
        values["flatbuffer"] = _array("model", np.frombuffer(interpreted.tflite, np.uint8))
    paths = []
    for name in names:
        path = out / name
        path.write_text(environment.get_template(f"{name}.j2").render(values), encoding="ascii")
        paths.append(path)
    return paths


def _params(name: str, lowered: Lowered, arrays: list[Array], params: list[Params]) -> str:
    """Adds the parameters of a run, and those that they point to, and their tables; returns their C name."""
    if lowered.kernel == INTERPRETER:
        return "cutlayer_engine"
    fields = []
    for field, value in lowered.params.items():
        if isinstance(value, np.ndarray):
            arrays.append(_array(f"{name}_{field}", value))
            fields.append((field, arrays[-1].name))
        elif isinstance(value, Lowered):
            fields.append(
                (field, "&" + _params(f"{name}_{field.removesuffix('_params')}", value, arrays, params))
            )
        elif isinstance(value, tuple):
            fields.append((field, _braces(value)))
        elif isinstance(value, str):
            fields.append((field, value))
        else:
            fields.append((field, "0" if value is None else _integer(value)))
    output = lowered.output.name.encode("ascii", "replace").decode().replace("\\", "/").replace("\n", " ")
    comment = f"{lowered.operator.kind}: {output.split(';')[0]}"
    params.append(Params(comment, lowered.params_type, f"{name}_params", fields))
    return params[-1].name


def _array(name: str, values: NDArray[Any]) -> Array:
    dtype = values.dtype.name
    flat = values.reshape(-1).tolist()
    texts = [_float(value) for value in flat] if dtype == "float32" else [_integer(value) for value in flat]
    width = VALUES_A_LINE[dtype]
    lines = [", ".join(texts[start : start + width]) for start in range(0, len(texts), width)]
    return Array(C_TYPES[dtype], name, len(texts), lines)


def _integer(value: int) -> str:
    # C has no negative literals: -2147483648 would be a long.
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


def _float(value: float) -> str:
    """The shortest decimal that is this float32 again."""
    text = str(np.float32(value))
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _shape(shape: tuple[int, ...]) -> str:
    height, width, channels = (1, 1, 1, *shape[1:])[-3:]
    return _braces((height, width, channels))


def _braces(values: tuple[int, ...]) -> str:
    return "{" + ", ".join(str(value) for value in values) + "}"
