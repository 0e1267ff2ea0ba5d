"""Training of the same network without a board, in float32: centrally, and split as the board does it.

The split simulation is the yardstick of what int8 costs: the same samples in the same mini-batches, the
same optimizer and rates; the head's last layer (BatchNormalization folded, as on the board) and the tail
are trained, all else is frozen, nothing is rounded. BatchNormalization uses its stored statistics
throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_kws.features import real_input
from cutlayer_kws.model import CUT_LAYER, TRAINABLE_LAYER, accuracy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cutlayer_kws.budget import Budget

_PREDICT_BATCH = 256


def train_central(
    model: Any,
    features: NDArray[np.int8],
    labels: NDArray[np.uint8],
    order: NDArray[np.int64],
    budget: Budget,
    on_step: Callable[[int], None] = lambda _: None,
) -> list[float]:
    """Trains all of `model` in place. Returns each step's share of samples named rightly before the step."""
    variables = model.trainable_variables
    return _train(
        lambda x: model(x, training=False),
        variables,
        [],
        real_input(features),
        labels,
        order,
        budget,
        on_step,
    )


def simulate_split(
    model: Any,
    features: NDArray[np.int8],
    labels: NDArray[np.uint8],
    order: NDArray[np.int64],
    budget: Budget,
    on_step: Callable[[int], None] = lambda _: None,
) -> None:
    """Trains the head's last layer and the tail of `model` in place, by the rates of a split run."""
    import keras

    layer = model.get_layer(TRAINABLE_LAYER)
    kernel, bias = _fold(model)
    before = keras.Model(model.input, layer.input)
    inputs = before.predict(real_input(features), batch_size=_PREDICT_BATCH, verbose=0)
    tail = keras.Model(model.get_layer(CUT_LAYER).output, model.output)

    def forward(x: Any) -> Any:
        smashed = keras.ops.relu(keras.ops.conv(x, kernel, padding="same") + bias)
        return tail(smashed, training=False)

    own = tail.trainable_variables
    _train(forward, own, [kernel, bias], inputs, labels, order, budget, on_step)
    _unfold(model, kernel, bias)


def evaluate(
    model: Any, features: NDArray[np.int8], labels: NDArray[np.uint8], test: NDArray[np.int64]
) -> float:
    """Accuracy of the float network on the recordings `test`."""
    return accuracy(model, features[test], labels[test])


def _train(
    forward: Callable[[Any], Any],
    tail_variables: list[Any],
    board_variables: list[Any],
    inputs: NDArray[np.float32],
    labels: NDArray[np.uint8],
    order: NDArray[np.int64],
    budget: Budget,
    on_step: Callable[[int], None],
) -> list[float]:
    import keras
    import tensorflow as tf

    settings = budget.optimizer
    optimizers = []
    for variables in (tail_variables, board_variables):
        optimizer = keras.optimizers.Adam(
            beta_1=settings.momentum, beta_2=settings.beta2, epsilon=settings.epsilon
        )
        optimizer.build(variables)
        optimizers.append(optimizer)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def update(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = forward(x)
            loss = loss_of(y, logits)
        every = [variable.value for variable in (*tail_variables, *board_variables)]
        gradients = tape.gradient(loss, every)
        count = len(tail_variables)
        optimizers[0].apply(gradients[:count], tail_variables)
        if board_variables:
            optimizers[1].apply(gradients[count:], board_variables)
        return tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), y), tf.float32))

    compiled = tf.function(update, autograph=False, reduce_retracing=True)
    correct = []
    for step, batch in enumerate(budget.batches(order), 1):
        optimizers[0].learning_rate.assign(budget.tail_rate(step))
        optimizers[1].learning_rate.assign(budget.board_rate(step))
        correct.append(float(compiled(tf.constant(inputs[batch]), tf.constant(labels[batch], tf.int32))))
        on_step(step)
    return correct


def _fold(model: Any) -> tuple[Any, Any]:
    """The trainable layer with its BatchNormalization folded in, as the converter does: kernel and bias."""
    import keras

    gamma, beta, mean, variance, epsilon = _normalization(model)
    scale = gamma / np.sqrt(variance + epsilon)
    kernel = model.get_layer(TRAINABLE_LAYER).get_weights()[0] * scale
    return keras.Variable(kernel, dtype="float32"), keras.Variable(beta - mean * scale, dtype="float32")


def _unfold(model: Any, kernel: Any, bias: Any) -> None:
    """Puts a folded kernel and bias back: the BatchNormalization is left to add the bias only."""
    _, _, mean, variance, epsilon = _normalization(model)
    model.get_layer(TRAINABLE_LAYER).set_weights([np.asarray(kernel)])
    deviation = np.sqrt(variance + epsilon)
    weights = [deviation, np.asarray(bias), np.zeros_like(mean), variance]
    model.get_layer(f"{TRAINABLE_LAYER}_bn").set_weights(weights)


def _normalization(model: Any) -> tuple[Any, Any, Any, Any, float]:
    layer = model.get_layer(f"{TRAINABLE_LAYER}_bn")
    gamma, beta, mean, variance = layer.get_weights()
    return gamma, beta, mean, variance, layer.epsilon
