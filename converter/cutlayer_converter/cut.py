"""Splits a Keras model at a layer into head and tail."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.quiet import quiet, quiet_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Split:
    """A model in two.

    Attributes:
        layer: The cut layer; its output is the smashed data.
        head: Keras model: the model's input to the smashed data.
        tail: Keras model: the smashed data to the model's output. It shares no weights with the head.
    """

    layer: str
    head: Any
    tail: Any


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer: a node of the graph of layers."""

    layer: str
    is_input: bool
    outputs: tuple[Any, ...]  # Keras tensors
    sources: tuple[int, ...]  # keys of the calls whose outputs it takes


def load_model(path: Path) -> Any:
    """Loads a Keras model of one input and one output.

    Raises:
        ConvertError: The file is missing, no Keras model, or a model that cannot be cut.
    """
    if not path.is_file():
        raise ConvertError(
            f"{path}: no such file", "save the model with `model.save('NAME.keras')` and name it"
        )
    quiet_tensorflow()
    import keras

    try:
        with quiet():
            model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the file's content leads it to
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConvertError(
            f"{path}: not a Keras model that can be read: {reason}",
            f"save it again with keras {keras.__version__}, without custom or Lambda layers",
        ) from error
    check_model(model, str(path))
    return model


def check_model(model: Any, name: str) -> None:
    """Checks that `model` has one input and one output, both of a known size.

    Raises:
        ConvertError: It has not.
    """
    try:
        inputs, outputs = list(model.inputs or ()), list(model.outputs or ())
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if not inputs or not outputs:
        raise ConvertError(
            f"{name}: the model has no graph of layers (subclassed, or its input shape is not known yet)",
            "build it as a functional or sequential model that starts with keras.Input(shape)",
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise ConvertError(
            f"{name}: the model has {len(inputs)} inputs and {len(outputs)} outputs; one of each is taken",
            "wrap it in a keras.Model with one input and one output",
        )
    shape = tuple(inputs[0].shape[1:])
    if any(size is None for size in shape) or not shape:
        raise ConvertError(
            f"{name}: the model's input shape {shape} is not fixed",
            "give every size in keras.Input(shape)",
        )


def split(model: Any, layer: str) -> Split:
    """Cuts `model` after `layer`.

    Raises:
        ConvertError: There is no such layer, or its output is not the only path from input to output.
    """
    import keras

    calls = _calls(model)
    cuts = _cuts(model, calls)
    key = cuts.get(layer)
    if key is None:
        raise _bad_cut(model, layer, calls, list(cuts))
    smashed = calls[key].outputs[0]
    head = keras.Model(model.inputs[0], smashed, name="head")
    part = keras.Model(smashed, model.outputs[0], name="tail")
    if any(size is None for size in smashed.shape[1:]):
        raise ConvertError(f"the output of {layer!r} has the shape {smashed.shape[1:]}, which is not fixed")
    # A clone has weights and an input of its own, with names that do not depend on what was built before.
    start = keras.Input(smashed.shape[1:], name="smashed")
    tail = keras.models.clone_model(part, input_tensors=start)
    tail.set_weights(part.get_weights())
    return Split(layer, head, tail)


def valid_cuts(model: Any) -> list[str]:
    """Names of the layers that the model can be cut after, from input to output."""
    return list(_cuts(model, _calls(model)))


def call_count(model: Any, layer: str) -> int:
    """How often the model calls its layer of that name."""
    return [call.layer for call in _calls(model).values()].count(layer)


def _calls(model: Any) -> dict[int, Call]:
    """All calls of layers between input and output, sources first."""
    calls: dict[int, Call] = {}
    # Sources must come before what uses them: a call is kept on the second visit.
    pending = [(tensor, False) for tensor in model.outputs]
    while pending:
        tensor, ready = pending.pop()
        key, layer, node = _node(tensor)
        if key in calls:
            continue
        sources = list(node.input_tensors)
        if not ready:
            pending.append((tensor, True))
            pending.extend((source, False) for source in sources)
            continue
        keys = tuple(_node(source)[0] for source in sources)
        calls[key] = Call(layer.name, not sources, tuple(node.outputs), keys)
    return calls


def _node(tensor: Any) -> tuple[int, Any, Any]:
    """Key, layer and node of the call that made a Keras tensor."""
    history = tensor._keras_history  # noqa: SLF001 - Keras has no public view of the graph
    node = history.operation._inbound_nodes[history.node_index]  # noqa: SLF001
    return id(node), history.operation, node


def _cuts(model: Any, calls: dict[int, Call]) -> dict[str, int]:
    """Valid cuts by the layer's name: the calls that every path from input to output goes through."""
    end = _node(model.outputs[0])[0]
    names = [call.layer for call in calls.values()]
    return {
        call.layer: key
        for key, call in calls.items()
        if key != end
        and not call.is_input
        and len(call.outputs) == 1
        and names.count(call.layer) == 1
        and not _reaches_input_without(calls, end, key)
    }


def _reaches_input_without(calls: dict[int, Call], start: int, without: int) -> bool:
    pending, seen = [start], {without}
    while pending:
        key = pending.pop()
        if key in seen:
            continue
        seen.add(key)
        if calls[key].is_input:
            return True
        pending.extend(calls[key].sources)
    return False


def _bad_cut(model: Any, layer: str, calls: dict[int, Call], cuts: list[str]) -> ConvertError:
    hint = f"cut after one of: {', '.join(cuts)}" if cuts else "this model has no place to cut"
    uses = [call for call in calls.values() if call.layer == layer]
    if not uses:
        names = [call.layer for call in calls.values()]
        for outer, inner in _nested(model):
            if inner == layer:
                return ConvertError(f"layer {layer!r} lies inside the nested model {outer!r}", hint)
        close = difflib.get_close_matches(layer, names, n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
        return ConvertError(f"the model has no layer {layer!r}{meant}", hint)
    if len(uses) > 1:
        return ConvertError(f"layer {layer!r} is used {len(uses)} times in the model", hint)
    if uses[0].is_input:
        return ConvertError(f"a cut at the input {layer!r} would leave no head", hint)
    if uses[0].outputs[0] is model.outputs[0]:
        return ConvertError(f"a cut after the last layer {layer!r} would leave no tail", hint)
    return ConvertError(f"layer {layer!r} is not the only path from input to output", hint)


def _nested(model: Any) -> Iterator[tuple[str, str]]:
    """Pairs of nested model and layer in it, at any depth."""
    for outer in model.layers:
        for inner in getattr(outer, "layers", ()):
            yield outer.name, inner.name
        if getattr(outer, "layers", None):
            yield from _nested(outer)
