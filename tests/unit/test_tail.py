"""The tail against Keras itself: the gradient at the cut, the update of a mini-batch, what it remembers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from cutlayer_host.errors import TailError
from cutlayer_host.optimizer import OptimizerSettings
from cutlayer_host.tail import Tail, TailSettings

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = 5
SCALE, ZERO_POINT = 0.02, -7


def model(*, softmax: bool = False, dropout: bool = False, shape: tuple[int, ...] = (4, 3, 8)) -> Any:
    keras.utils.set_random_seed(11)
    inputs = x = keras.Input(shape)
    if len(shape) == 3:
        x = layers.Conv2D(6, 3, padding="same")(x)
        x = layers.BatchNormalization(momentum=0.5)(x)
        x = layers.ReLU()(x)
        x = layers.Flatten()(x)
    if dropout:
        x = layers.Dropout(0.5)(x)
    result = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax" if softmax else None)(x))
    for layer in result.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(np.linspace(-0.5, 0.5, 6))
            layer.moving_variance.assign(np.linspace(0.5, 2, 6))
    return result


def samples(count: int, size: int = 96) -> list[tuple[np.ndarray, int]]:
    random = np.random.default_rng(2)
    return [(random.integers(-128, 128, size).astype(np.int8), index % CLASSES) for index in range(count)]


def real(values: np.ndarray, shape: tuple[int, ...] = (4, 3, 8)) -> np.ndarray:
    return ((values.astype(np.float32) - ZERO_POINT) * np.float32(SCALE)).reshape(1, *shape)


def reference(network: Any, values: np.ndarray, label: int) -> tuple[float, np.ndarray, list[np.ndarray]]:
    smashed = tf.constant(real(values))
    with tf.GradientTape() as tape:
        tape.watch(smashed)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits([label], network(smashed, training=False))[0]
    gradient, *own = tape.gradient(loss, [smashed, *(v.value for v in network.trainable_variables)])
    return float(loss), gradient.numpy().reshape(-1), [np.asarray(g) for g in own]


@pytest.mark.parametrize("softmax", [False, True])
def test_loss_and_gradient_are_those_of_keras(softmax: bool) -> None:
    tail = Tail(model(softmax=softmax), TailSettings())
    network = model()
    for values, label in samples(4):
        loss, gradient, _ = reference(network, values, label)
        step = tail.step(values, SCALE, ZERO_POINT, label)
        assert step.loss == pytest.approx(loss, rel=1e-5)
        assert step.gradient == pytest.approx(gradient, rel=1e-4, abs=1e-6)
        assert step.predicted == int(np.argmax(network(real(values))[0]))


def test_a_mini_batch_is_one_update_with_the_mean_gradient() -> None:
    network = model()
    tail = Tail(model(), TailSettings(optimizer=OptimizerSettings("sgd", momentum=0.0)))
    gradients = [reference(network, values, label)[2] for values, label in samples(3)]
    for values, label in samples(3):
        tail.step(values, SCALE, ZERO_POINT, label)
    tail.apply(3, 0.1)
    for variable, parts in zip(network.trainable_variables, zip(*gradients, strict=True), strict=True):
        variable.assign_sub(0.1 * np.mean(parts, axis=0))
    values, _ = samples(1)[0]
    expected = tf.nn.softmax(network(real(values))[0])
    assert tail.predict(values, SCALE, ZERO_POINT) == pytest.approx(expected.numpy(), abs=1e-5)


def test_stored_statistics_stay_and_gamma_learns() -> None:
    for dropout in (False, True):
        network = model(dropout=dropout)
        tail = Tail(network, TailSettings())
        normalization = next(
            layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)
        )
        before = [np.array(value) for value in normalization.get_weights()]
        for values, label in samples(4):
            tail.step(values, SCALE, ZERO_POINT, label)
        tail.apply(4, 0.01)
        gamma, beta, mean, variance = normalization.get_weights()
        assert not np.array_equal(gamma, before[0])
        assert not np.array_equal(beta, before[1])
        assert np.array_equal(mean, before[2])
        assert np.array_equal(variance, before[3])


def run(tail: Tail, *, discard_after: int | None = None) -> int:
    for index, (values, label) in enumerate(samples(12)):
        tail.step(values, SCALE, ZERO_POINT, label)
        if index == discard_after:
            # As after a lost link: the mini-batch is begun again.
            tail.discard()
            for values_again, label_again in samples(12)[index - index % 4 : index + 1]:
                tail.step(values_again, SCALE, ZERO_POINT, label_again)
        if index % 4 == 3:
            tail.apply(4, 0.01)
    return tail.weights_crc()


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_runs_repeat_bit_for_bit_also_when_a_mini_batch_is_begun_again(dropout: bool, optimizer: str) -> None:
    settings = TailSettings(optimizer=OptimizerSettings(optimizer), seed=4)
    first = run(Tail(model(dropout=dropout), settings))
    assert run(Tail(model(dropout=dropout), settings)) == first
    assert run(Tail(model(dropout=dropout), settings), discard_after=6) == first
    if dropout:
        assert run(Tail(model(dropout=True), TailSettings(optimizer=settings.optimizer, seed=5))) != first


def test_discarding_leaves_the_weights_alone() -> None:
    tail = Tail(model(), TailSettings(optimizer=OptimizerSettings("sgd", momentum=0.0)))
    before = tail.weights_crc()
    values, label = samples(1)[0]
    tail.step(values, SCALE, ZERO_POINT, label)
    tail.discard()
    tail.apply(1, 0.1)
    assert tail.weights_crc() == before


def test_other_losses() -> None:
    values, label = samples(1)[0]
    for name in ("categorical_crossentropy", "mean_squared_error", "categorical_hinge"):
        step = Tail(model(softmax=True), TailSettings(loss=name)).step(values, SCALE, ZERO_POINT, label)
        outputs = model(softmax=True)(real(values))
        target = tf.one_hot([label], CLASSES)
        assert step.loss == pytest.approx(float(keras.losses.get(name)(target, outputs)[0]), rel=1e-4)
    with pytest.raises(TailError, match="no_such_loss"):
        Tail(model(), TailSettings(loss="no_such_loss"))


def test_a_cut_without_space(tmp_path: Path) -> None:
    path = tmp_path / "tail.keras"
    model(shape=(16,)).save(path)
    tail = Tail.load(path)
    assert (tail.shape, tail.count, tail.class_count) == ((16,), 16, CLASSES)
    assert tail.step(samples(1, 16)[0][0], SCALE, ZERO_POINT, 0).gradient.shape == (16,)


def test_saving_keeps_weights_and_what_learns(tmp_path: Path) -> None:
    tail = Tail(model(dropout=True), TailSettings())
    for values, label in samples(4):
        tail.step(values, SCALE, ZERO_POINT, label)
    tail.apply(4, 0.01)
    tail.save(tmp_path / "trained.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["trained.keras"]
    again = Tail.load(tmp_path / "trained.keras")
    assert again.weights_crc() == tail.weights_crc()
    loaded = keras.models.load_model(tmp_path / "trained.keras")
    assert len(loaded.trainable_variables) == len(model(dropout=True).trainable_variables)


def test_what_cannot_be_a_tail(tmp_path: Path) -> None:
    with pytest.raises(TailError, match="no tail there"):
        Tail.load(tmp_path / "tail.keras")
    (tmp_path / "tail.keras").write_bytes(b"PK no model")
    with pytest.raises(TailError, match="not a Keras model"):
        Tail.load(tmp_path / "tail.keras")
    with pytest.raises(TailError, match="not classes"):
        Tail(keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(2, 1)]), TailSettings())
    with pytest.raises(TailError, match="not classes"):
        Tail(keras.Sequential([keras.Input((None, 4)), layers.GlobalAveragePooling1D()]), TailSettings())
    two = [keras.Input((4,)), keras.Input((4,))]
    with pytest.raises(TailError, match="2 inputs"):
        Tail(keras.Model(two, layers.Dense(2)(layers.Add()(two))), TailSettings())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_restored_tail_goes_on_as_if_nothing_had_happened(optimizer: str) -> None:
    settings = TailSettings(optimizer=OptimizerSettings(optimizer), seed=5)
    whole, other = (Tail(model(dropout=True), settings) for _ in range(2))
    values = np.random.default_rng(0).integers(-128, 128, (12, whole.count)).astype(np.int8)

    def learn(tail: Tail, numbers: range) -> None:
        for number in numbers:
            tail.step(values[number], 0.05, -128, number % tail.class_count)
            tail.apply(1, 0.01)

    learn(whole, range(6))
    state = whole.state()
    learn(whole, range(6, 12))
    learn(other, range(9, 12))
    other.step(values[0], 0.05, -128, 0)  # half a step, which goes
    other.restore(state)
    learn(other, range(6, 12))
    assert other.weights_crc() == whole.weights_crc()
    assert all(
        np.array_equal(a, b) for a, b in zip(other.state().values(), whole.state().values(), strict=True)
    )


def test_a_state_of_another_tail_is_refused_and_changes_nothing() -> None:
    tail = Tail(model(dropout=True), TailSettings(optimizer=OptimizerSettings("adam")))
    before = tail.weights_crc()
    state = Tail(model(dropout=True), TailSettings(optimizer=OptimizerSettings("sgd"))).state()
    with pytest.raises(TailError, match="optimizer"):
        tail.restore(state)
    state = tail.state()
    state["weights/0"] = state["weights/0"][:1]
    with pytest.raises(TailError, match="weights/0"):
        tail.restore(state)
    assert tail.weights_crc() == before


@pytest.mark.parametrize(
    "scale", [float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)]
)
def test_a_scale_of_ill_will_leaves_the_weights_as_they_are(scale: float) -> None:
    """Whoever calls it sees no finite number, or a harmless one, and discards the step."""
    tail, other = (Tail(model(), TailSettings()) for _ in range(2))
    given = samples(3)
    for values, label in given:
        outcome = tail.step(values, scale, -128, label)
        assert scale < 1 or not (np.isfinite(outcome.loss) and np.isfinite(outcome.gradient).all())
    tail.discard()
    for each in (tail, other):
        for values, label in given:
            each.step(values, SCALE, ZERO_POINT, label)
        each.apply(len(given), 0.01)
    assert tail.weights_crc() == other.weights_crc()
