"""What a run has learned as models: the tail, and with the board's layer the whole Keras model and the head.

TensorFlow folds BatchNormalization into the layer before it, so a board trains the folded layer. In the whole
model that layer has the board's weights and bias, and an Identity of the same name stands where each
normalization was: the model can be cut and converted again at the same places.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter import bundle
from cutlayer_converter.cut import call_count, load_model
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.folder import check_replaceable, whole_folder
from cutlayer_converter.learned import LearnedLayer, channel_shape, converted_layer, patch_head
from cutlayer_converter.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cutlayer_converter.bundle import TrainableLayer

MODEL = "model.keras"

# Of the quantization step: what rounding a folded weight to int8 may have changed, and float32 with it.
ROUNDING_MAX = 0.51
FLOAT_ERROR = 1e-5


def export(
    folder: Path,
    out: Path,
    tail_weights: Sequence[NDArray[Any]],
    learned: LearnedLayer | None = None,
    *,
    with_head: bool = True,
) -> list[str]:
    """Writes a run's models into the folder `out`, and returns the files' names.

    Args:
        folder: The bundle.
        out: Made, or replaced when it holds such models.
        tail_weights: As Keras' `get_weights` gives them.
        learned: The board's layer; None: the head as converted.
        with_head: False writes the tail alone.

    Raises:
        ConvertError: The weights do not fit the bundle, or the layer cannot be unfolded. Nothing has been
            written then.
    """
    check_replaceable(out, (MODEL, bundle.HEAD, bundle.TAIL), "an export")
    manifest = bundle.load_manifest(folder)
    tail = load_model(folder / bundle.TAIL)
    _set_tail(tail, tail_weights, folder)
    models = {bundle.TAIL: tail}
    tflite = b""
    if with_head:
        tflite, head = (folder / bundle.HEAD).read_bytes(), _float_head(folder)
        if learned is not None:
            assert manifest.trainable is not None
            head = learned_head(head, tflite, manifest.trainable, learned)
            tflite = patch_head(tflite, learned)
        models[MODEL] = join(head, tail)
    with whole_folder(out) as made:
        for name, model in models.items():
            with quiet():
                model.save(made / name)
        if tflite:
            (made / bundle.HEAD).write_bytes(tflite)
        return sorted(path.name for path in made.iterdir())


def read_weights(path: Path, folder: Path) -> tuple[list[NDArray[Any]], LearnedLayer | None]:
    """Reads the tail's weights, tail/0 and on, and the layer's parts, layer/NAME, from an .npz file.

    Raises:
        ConvertError: It cannot be read, or its layer is not that of the bundle in `folder`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConvertError(f"{path}: not an .npz file of weights: {error}") from error
    tail_count = sum(name.startswith("tail/") for name in arrays)
    parts = {name.removeprefix("layer/"): part for name, part in arrays.items() if name.startswith("layer/")}
    spec = bundle.load_manifest(folder).trainable
    learned = LearnedLayer.of(parts, spec) if parts and spec is not None else None
    return [arrays[f"tail/{i}"] for i in range(tail_count)], learned


def join(head: Any, tail: Any) -> Any:
    """The model that a cut made head and tail of, as one graph of layers. The head's layers are shared."""
    import keras

    outputs: list[Any] = []

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        outputs.append(layer(*arguments, **options))
        return outputs[-1]

    layers: dict[str, Any] = {}

    def clone(layer: Any) -> Any:
        layers[layer.name] = layer.__class__.from_config(layer.get_config())
        return layers[layer.name]

    # The clone would get an input of its own: so what its last layer gave is caught on the way.
    start = head.outputs[0]
    structure = [start] if isinstance(tail.input, list) else start
    keras.models.clone_model(tail, input_tensors=structure, clone_function=clone, call_function=call)
    for layer in tail.layers:
        if layer.name in layers:
            layers[layer.name].set_weights(layer.get_weights())
    return keras.Model(head.inputs[0], outputs[-1], name="model")


@dataclass(frozen=True, slots=True)
class Folded:
    """The trainable layer in Keras, and the normalizations that TensorFlow folded into it."""

    layer: Any
    norms: tuple[Any, ...]

    @property
    def kernel(self) -> Any:
        """The variable; of a separable convolution the pointwise one."""
        return [weight for weight in self.layer.weights if "kernel" in weight.name][-1]

    def replaces(self, layer: Any) -> bool:
        """Whether `layer` is one of the normalizations."""
        return any(layer is norm for norm in self.norms)

    def weights(self, spec: TrainableLayer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The folded weights, shaped as in the kernel, and the folded bias; ValueError: they do not fit."""
        kernel = np.asarray(self.kernel, np.float64)
        if spec.kind != "depthwise":
            kernel = np.moveaxis(kernel, -1, 0)
        weights = kernel.reshape(spec.weight_shape)
        bias = getattr(self.layer, "bias", None)
        biases = np.zeros(spec.channel_count) if bias is None else np.asarray(bias, np.float64)
        for norm in self.norms:
            mean = np.asarray(norm.moving_mean, np.float64)
            scale = 1.0 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
            if norm.gamma is not None:
                scale = scale * np.asarray(norm.gamma, np.float64)
            weights = weights * scale.reshape(channel_shape(spec))
            biases = (biases - mean) * scale
            if norm.beta is not None:
                biases = biases + np.asarray(norm.beta, np.float64)
        return weights, biases.reshape(spec.channel_count)


def learned_head(head: Any, tflite: bytes, spec: TrainableLayer, learned: LearnedLayer) -> Any:
    """The float head with the board's layer in place.

    Raises:
        ConvertError: head.tflite's layer is not the Keras layer with the normalizations behind it.
    """
    import keras

    folded = _find(head)
    _check_folding(folded, tflite, spec)

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if folded.replaces(layer):
            return keras.layers.Identity(name=layer.name)
        if layer is folded.layer:
            config["use_bias"] = True  # the board learns one
        return layer.__class__.from_config(config)

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        # A normalization takes a mask, an Identity does not.
        return layer(*arguments) if isinstance(layer, keras.layers.Identity) else layer(*arguments, **options)

    new_head = keras.models.clone_model(head, clone_function=clone, call_function=call, recursive=True)
    kept = [layer for layer in _leaves(head) if layer.weights and not folded.replaces(layer)]
    for old, new in zip(kept, [layer for layer in _leaves(new_head) if layer.weights], strict=True):
        weights = {weight.name: np.asarray(weight) for weight in old.weights}
        if old is folded.layer:
            weights |= _unshaped(folded, spec, learned)
        new.set_weights([weights[weight.name] for weight in new.weights])
    return new_head


def _unshaped(folded: Folded, spec: TrainableLayer, learned: LearnedLayer) -> Mapping[str, NDArray[Any]]:
    """The learned weights and bias as Keras has them: channels last."""
    kernel = learned.master_weights
    if spec.kind != "depthwise":
        kernel = np.moveaxis(kernel, 0, -1)
    return {folded.kernel.name: kernel.reshape(folded.kernel.shape), "bias": learned.master_bias}


def _find(head: Any) -> Folded:
    """The last layer with a kernel, which the head ends with, and the normalizations behind it."""
    import keras

    leaves = list(_leaves(head))
    places = [i for i, leaf in enumerate(leaves) if any("kernel" in weight.name for weight in leaf.weights)]
    if not places or _times_called(head, leaves[places[-1]]) != 1:
        raise ConvertError(
            "the head's last layer with weights cannot be told from the Keras model, or is used twice",
            "export without --device: the tail alone",
        )
    behind = leaves[places[-1] + 1 :]
    norms = tuple(leaf for leaf in behind if isinstance(leaf, keras.layers.BatchNormalization))
    return Folded(leaves[places[-1]], norms)


def _check_folding(folded: Folded, tflite: bytes, spec: TrainableLayer) -> None:
    """Checks that folding gives the converted weights up to their rounding: then unfolding is right too."""
    converted = converted_layer(tflite, spec)
    off = np.inf
    try:
        weights, bias = folded.weights(spec)
    except ValueError:
        pass
    else:
        steps = np.maximum(converted.weight_scales, np.finfo(np.float32).tiny)
        weight_error = np.abs(weights - converted.master_weights) / steps.reshape(channel_shape(spec))
        bias_error = np.abs(bias - converted.master_bias) - FLOAT_ERROR * (1 + np.abs(bias))
        off = max(float(weight_error.max()), float((bias_error / (spec.input_scale * steps)).max()))
    if not off <= ROUNDING_MAX:
        raise ConvertError(
            f"{folded.layer.name!r} is not what TensorFlow made of it in {bundle.HEAD}: something else was "
            f"folded in (off by {off:.3g} quantization steps); no whole Keras model can be put together",
            "export without --device: the tail alone",
        )


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


def _times_called(model: Any, leaf: Any) -> int:
    """How often a layer is called in a model, by the models in it too."""
    times = 0
    for layer in model.layers:
        if layer is leaf:
            times += call_count(model, layer.name)
        elif hasattr(layer, "layers"):
            times += call_count(model, layer.name) * _times_called(layer, leaf)
    return times


def _float_head(folder: Path) -> Any:
    path = folder / bundle.FLOAT_HEAD
    if not path.is_file():
        raise ConvertError(
            f"{folder}: the bundle has no {bundle.FLOAT_HEAD}: it was made by an older cutlayer",
            "convert the same model again: a bundle with the same model id serves the board too",
        )
    return load_model(path)


def _set_tail(tail: Any, weights: Sequence[NDArray[Any]], folder: Path) -> None:
    found, due = [part.shape for part in weights], [part.shape for part in tail.get_weights()]
    if found != due:
        raise ConvertError(
            f"the run's tail has weights of shapes {found}, that of {folder} {due}",
            "name the bundle that the run began with, with --bundle",
        )
    tail.set_weights(list(weights))
