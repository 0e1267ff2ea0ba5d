"""The tail: the layers after the cut, in Keras. The only file of the host that imports TensorFlow, and late.

One compiled TensorFlow function takes a sample's smashed data to its loss and to the gradient at the cut,
and adds the gradient of the tail's own weights to an accumulator. The accumulator is committed when the board
has applied its half of the step, or discarded, so that a step happens on both sides or on neither.

BatchNormalization uses its stored statistics: samples come one at a time. Op determinism is on, and every
random state is seeded, so that a run with the same seed repeats bit for bit.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cutlayer_host.errors import TailError
from cutlayer_host.optimizer import OptimizerSettings
from cutlayer_host.quiet import silent_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

Outputs = Literal["auto", "logits", "probabilities"]


@dataclass(frozen=True, slots=True)
class TailSettings:
    """How a tail learns.

    Attributes:
        loss: a Keras loss of classes; a name without "sparse_" gets the label one-hot.
        outputs: what the tail's last layer gives; "auto" goes by whether that is a softmax.
        optimizer: the tail's own optimizer.
        seed: seeds Dropout and its kind.
    """

    loss: str = "sparse_categorical_crossentropy"
    outputs: Outputs = "auto"
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TailStep:
    """What one sample gave.

    Attributes:
        loss: of this sample.
        predicted: the most likely class, before the step.
        gradient: float32 [count], the loss's gradient at the cut.
    """

    loss: float
    predicted: int
    gradient: npt.NDArray[np.float32]


class Tail:
    """A loaded tail. Not thread-safe: call it through one `TailWorker`."""

    def __init__(self, model: Any, settings: TailSettings, name: str = "tail") -> None:
        """Takes a Keras model of one input; its weights are then the tail's to change.

        Raises:
            TailError: the model has more inputs or outputs than one, or a shape that is not fixed.
        """
        tf = _tensorflow()
        self._model = model
        self._settings = settings
        self._shape = _fixed_shape(model, name)
        self.name = name
        self.class_count = int(model.output_shape[-1])
        self.tensorflow_seconds = 0.0
        self._variables = list(model.trainable_variables)
        self._accumulators = [tf.Variable(tf.zeros_like(v.value), trainable=False) for v in self._variables]
        self._optimizer = _optimizer(settings.optimizer)
        self._optimizer.build(self._variables)
        self._chances = [layer.seed_generator.state for layer in _chancy_layers(model)]
        for number, chance in enumerate(self._chances):
            chance.assign([settings.seed & 0xFFFFFFFF, number])
        self._committed_chances = [np.asarray(chance) for chance in self._chances]
        logits = settings.outputs == "logits" or (
            settings.outputs == "auto" and not _ends_with_softmax(model)
        )
        with _stored_statistics(model):
            loss = _class_loss(settings.loss, self.class_count, logits)
            self._step = _compile_step(model, loss, self._variables, self._accumulators)
        self._apply = _compile_apply(self._optimizer, self._variables, self._accumulators)
        self._predict = _compile_predict(model, logits)

    @classmethod
    def load(cls, path: Path, settings: TailSettings | None = None) -> Tail:
        """Loads a bundle's tail.keras.

        Raises:
            TailError: there is no such file, it is no Keras model, or not one that can be a tail.
        """
        if not path.is_file():
            raise TailError(f"{path}: no tail there", "name a folder that `cutlayer convert` wrote")
        _tensorflow()
        import keras

        try:
            model = keras.saving.load_model(path, compile=False)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise TailError(f"{path}: not a Keras model: {error}", "convert the model again") from error
        return cls(model, settings or TailSettings(), str(path))

    @property
    def count(self) -> int:
        """Elements of the smashed data that the tail takes."""
        return int(np.prod(self._shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the smashed data, without the batch."""
        return self._shape

    def step(self, values: npt.NDArray[np.int8], scale: float, zero_point: int, label: int) -> TailStep:
        """Forward, loss and backward of one sample; adds its gradient to the mini-batch.

        `values` is int8 [count]; the smashed data is scale * (values - zero_point). `label` is a class: 0 to
        `class_count` - 1.
        """
        tf = _tensorflow()
        began = time.perf_counter()
        loss, predicted, gradient = self._step(
            tf.constant(values),
            tf.constant(scale, tf.float32),
            tf.constant(zero_point, tf.float32),
            tf.constant(label, tf.int32),
        )
        result = TailStep(float(loss), int(predicted), gradient.numpy())
        self.tensorflow_seconds += time.perf_counter() - began
        return result

    def apply(self, samples: int, learning_rate: float) -> None:
        """Commits the mini-batch: one update with the mean gradient of its `samples`."""
        tf = _tensorflow()
        began = time.perf_counter()
        self._optimizer.learning_rate.assign(learning_rate)
        self._apply(tf.constant(samples, tf.float32))
        self._committed_chances = [np.asarray(chance) for chance in self._chances]
        self.tensorflow_seconds += time.perf_counter() - began

    def discard(self) -> None:
        """Drops the mini-batch, as if none of its samples had been."""
        for accumulator in self._accumulators:
            accumulator.assign(np.zeros(accumulator.shape, np.float32))
        for chance, committed in zip(self._chances, self._committed_chances, strict=True):
            chance.assign(committed)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that later steps depend on, as after the last commit: weights, optimizer, chance.

        The names are "weights/0" and so on; the arrays are copies.
        """
        kept = {
            "weights": self._model.get_weights(),
            "optimizer": [np.array(variable) for variable in self._optimizer.variables],
            "chance": self._committed_chances,
        }
        return {f"{name}/{i}": np.array(value) for name, part in kept.items() for i, value in enumerate(part)}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Makes this the tail that gave `state`; drops the mini-batch in hand.

        Raises:
            TailError: it is the state of another model or of another optimizer. Nothing has changed.
        """
        own = self.state()
        for name in sorted(own.keys() | state.keys()):
            given = state[name].shape if name in state else None
            if name not in own or given != own[name].shape:
                due = own[name].shape if name in own else None
                raise TailError(
                    f"{self.name}: the kept state has {name} of shape {given}, this tail {due}",
                    "go on with the bundle and the optimizer that the run began with",
                )
        self._model.set_weights([state[f"weights/{i}"] for i in range(len(self._model.get_weights()))])
        for i, variable in enumerate(self._optimizer.variables):
            variable.assign(state[f"optimizer/{i}"])
        self._committed_chances = [np.array(state[f"chance/{i}"]) for i in range(len(self._chances))]
        self.discard()

    def predict(self, values: npt.NDArray[np.int8], scale: float, zero_point: int) -> npt.NDArray[np.float32]:
        """Returns float32 [class_count], the probability of each class."""
        tf = _tensorflow()
        probabilities: npt.NDArray[np.float32] = self._predict(
            tf.constant(values), tf.constant(scale, tf.float32), tf.constant(zero_point, tf.float32)
        ).numpy()
        return probabilities

    def weights_crc(self) -> int:
        """CRC-32 of all weights as float32 bytes, in the model's order: two equal tails have the same."""
        crc = 0
        for value in self._model.get_weights():
            crc = zlib.crc32(np.ascontiguousarray(value, np.float32).tobytes(), crc)
        return crc

    def save(self, path: Path) -> None:
        """Writes the tail as NAME.keras, whole or not at all."""
        partial = path.with_name(f".{path.stem}.partial.keras")
        try:
            self._model.save(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@functools.cache
def _tensorflow() -> Any:
    """TensorFlow with op determinism on; the first call takes seconds."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        with silent_stderr():
            import tensorflow as tf

            tf.config.list_physical_devices()
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    return tf


def _fixed_shape(model: Any, name: str) -> tuple[int, ...]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TailError(
            f"{name}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; a tail has one of each",
            "cut the model after a layer that is the only path",
        )
    shape = tuple(model.inputs[0].shape[1:])
    if None in shape or len(model.outputs[0].shape) != 2:
        raise TailError(
            f"{name}: takes {shape} and gives {tuple(model.outputs[0].shape[1:])}, not classes",
            "end the model with a Dense layer of one output a class",
        )
    return shape


def _optimizer(settings: OptimizerSettings) -> Any:
    import keras

    if settings.name == "adam":
        return keras.optimizers.Adam(
            beta_1=settings.momentum, beta_2=settings.beta2, epsilon=settings.epsilon
        )
    return keras.optimizers.SGD(momentum=settings.momentum)


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _chancy_layers(model: Any) -> list[Any]:
    return [layer for layer in _layers(model) if getattr(layer, "seed_generator", None) is not None]


@contextlib.contextmanager
def _stored_statistics(model: Any) -> Iterator[None]:
    """Lets BatchNormalization use its stored statistics even where Dropout trains.

    Keras does so for a layer that is not trainable. The flag matters only while a function is traced.
    """
    import keras

    layers = [
        layer
        for layer in _layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        for layer in layers:
            layer.trainable = True


def _ends_with_softmax(model: Any) -> bool:
    import keras

    last = model.layers[-1]
    if hasattr(last, "layers"):
        return _ends_with_softmax(last)
    return (
        isinstance(last, keras.layers.Softmax)
        or getattr(last, "activation", None) is keras.activations.softmax
    )


def _smashed_data_specs(tf: Any, model: Any) -> list[Any]:
    count = int(np.prod(model.inputs[0].shape[1:]))
    return [tf.TensorSpec([count], tf.int8), tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.float32)]


def _dequantize(tf: Any, model: Any, values: Any, scale: Any, zero_point: Any) -> Any:
    smashed = (tf.cast(values, tf.float32) - zero_point) * scale
    return tf.reshape(smashed, (1, *model.inputs[0].shape[1:]))


def _compile_step(model: Any, loss_of: Any, variables: list[Any], accumulators: list[Any]) -> Any:
    """(values, scale, zero point, label) -> (loss, predicted class, gradient at the cut)."""
    tf = _tensorflow()
    weights = [variable.value for variable in variables]
    # Dropout and its kind are on in training; BatchNormalization is not (see _stored_statistics).

    def step(values: Any, scale: Any, zero_point: Any, label: Any) -> tuple[Any, Any, Any]:
        smashed = _dequantize(tf, model, values, scale, zero_point)
        with tf.GradientTape() as tape:
            tape.watch(smashed)
            outputs = model(smashed, training=True)
            loss = loss_of(label, outputs)
        zero = tf.UnconnectedGradients.ZERO
        gradient, *own = tape.gradient(loss, [smashed, *weights], unconnected_gradients=zero)
        for accumulator, addend in zip(accumulators, own, strict=True):
            accumulator.assign_add(tf.convert_to_tensor(addend))
        return loss, tf.argmax(outputs[0]), tf.reshape(gradient, [-1])

    function = tf.function(step, autograph=False)
    return function.get_concrete_function(*_smashed_data_specs(tf, model), tf.TensorSpec([], tf.int32))


def _class_loss(name: str, class_count: int, logits: bool) -> Callable[[Any, Any], Any]:
    """Returns (label, outputs [1, classes]) -> the loss of the one sample.

    Raises:
        TailError: Keras has no loss of that name.
    """
    tf = _tensorflow()
    import keras

    try:
        loss = keras.losses.get(name)
        takes_logits = "from_logits" in inspect.signature(loss).parameters
    except (ValueError, TypeError) as error:
        raise TailError(f"{name}: not a loss of Keras", "e.g. sparse_categorical_crossentropy") from error
    if takes_logits:
        loss = functools.partial(loss, from_logits=logits)
    sparse = name.startswith("sparse_")

    def loss_of(label: Any, outputs: Any) -> Any:
        target = tf.reshape(label, [1]) if sparse else tf.one_hot([label], class_count)
        return tf.reshape(loss(target, outputs), [])

    return loss_of


def _compile_apply(optimizer: Any, variables: list[Any], accumulators: list[Any]) -> Any:
    """(samples) -> nothing: one update with the accumulators' mean, which are then zero."""
    tf = _tensorflow()

    def apply(samples: Any) -> None:
        if variables:
            optimizer.apply([accumulator / samples for accumulator in accumulators], variables)
        for accumulator in accumulators:
            accumulator.assign(tf.zeros_like(accumulator))

    return tf.function(apply, autograph=False).get_concrete_function(tf.TensorSpec([], tf.float32))


def _compile_predict(model: Any, logits: bool) -> Any:
    """(values, scale, zero point) -> the probability of each class."""
    tf = _tensorflow()

    def predict(values: Any, scale: Any, zero_point: Any) -> Any:
        outputs = model(_dequantize(tf, model, values, scale, zero_point), training=False)[0]
        return tf.nn.softmax(outputs) if logits else outputs

    return tf.function(predict, autograph=False).get_concrete_function(*_smashed_data_specs(tf, model))
