"""The keyword-spotting network: a depthwise-separable CNN in Keras, pretrained on five of the ten words.

The head ends in a 1 x 1 convolution of 48 to 64 channels with a ReLU: the layer that the board trains. Its
output, 13 x 10 x 64, is the smashed data. The tail is what remains: a depthwise convolution, pooling and a
dense layer over the ten words (as logits).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_kws.features import INPUT_SHAPE, real_input

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CUT_LAYER = "cut"
TRAINABLE_LAYER = "pointwise_cut"
CLASSIFIER_LAYER = "words"
SMASHED_SHAPE = (13, 10, 64)

_BATCH_NORMALIZATION_MOMENTUM = 0.95
_CALIBRATION_RECORDINGS = 300


@dataclass(frozen=True, slots=True)
class Pretraining:
    """How the network is pretrained.

    Attributes:
        words: The first so many words of the corpus; the others are never seen.
        recordings: At most so many recordings of these words.
        epochs: Passes over them.
        batch_size: Recordings an update.
        learning_rate: At the beginning; it falls to zero by a cosine.
    """

    words: int = 5
    recordings: int = 2000
    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 3e-3


def build_model(word_count: int) -> Any:
    """The untrained network: float32 [49, 40, 1] to `word_count` logits."""
    import keras

    layers = keras.layers
    inputs = keras.Input(INPUT_SHAPE, name="features")
    x = layers.Conv2D(24, (10, 4), strides=2, padding="same", use_bias=False, name="conv")(inputs)
    x = _normalized_relu(x, "conv")
    x = _separable(x, 48, stride=2, name="1")
    x = _separable(x, 48, stride=1, name="2")
    x = _depthwise(x, stride=1, name="cut")
    x = layers.Conv2D(SMASHED_SHAPE[-1], 1, use_bias=False, name=TRAINABLE_LAYER)(x)
    x = layers.BatchNormalization(momentum=_BATCH_NORMALIZATION_MOMENTUM, name=f"{TRAINABLE_LAYER}_bn")(x)
    x = layers.ReLU(name=CUT_LAYER)(x)
    x = _depthwise(x, stride=2, name="tail")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(word_count, name=CLASSIFIER_LAYER)(x), name="cutlayer_kws")


def pretrain(
    features: NDArray[np.int8], labels: NDArray[np.uint8], settings: Pretraining, *, seed: int
) -> Any:
    """Trains a network on the first words of the training set. Returns it with outputs for these words only.

    `features` is int8 [n, 49, 40, 1], `labels` [n].
    """
    import keras

    keras.utils.set_random_seed(seed)
    known = pretraining_indices(labels, settings)
    model = build_model(settings.words)
    updates = -(-len(known) // settings.batch_size) * settings.epochs
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, updates)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    targets = labels[known].astype(np.int32)
    inputs = real_input(features[known])
    model.fit(inputs, targets, batch_size=settings.batch_size, epochs=settings.epochs, verbose=0)
    return model


def pretraining_indices(labels: NDArray[np.uint8], settings: Pretraining) -> NDArray[np.int64]:
    """The recordings that `pretrain` sees."""
    return np.flatnonzero(labels < settings.words)[: settings.recordings]


def extend_to_words(pretrained: Any, word_count: int, *, seed: int) -> Any:
    """The pretrained network with a fresh last layer over `word_count` words."""
    import keras

    keras.utils.set_random_seed(seed)
    model = build_model(word_count)
    for layer in model.layers:
        if layer.name != CLASSIFIER_LAYER:
            layer.set_weights(pretrained.get_layer(layer.name).get_weights())
    return model


def accuracy(model: Any, features: NDArray[np.int8], labels: NDArray[np.uint8]) -> float:
    """Share of recordings that the float network names rightly."""
    logits = model.predict(real_input(features), batch_size=256, verbose=0)
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def write_calibration(path: Path, features: NDArray[np.int8]) -> None:
    """Writes representative inputs, ``x`` float32 [n, 49, 40, 1], for `cutlayer convert`.

    One value at each end of the range makes the converted input have the features' own scale and zero point.
    """
    chosen = features[:_CALIBRATION_RECORDINGS].copy()
    chosen[0, 0, 0, 0] = -128
    chosen[0, -1, -1, 0] = 127
    np.savez(path, x=real_input(chosen))


def _separable(x: Any, channels: int, *, stride: int, name: str) -> Any:
    import keras

    x = _depthwise(x, stride=stride, name=name)
    x = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"pointwise_{name}")(x)
    return _normalized_relu(x, f"pointwise_{name}")


def _depthwise(x: Any, *, stride: int, name: str) -> Any:
    import keras

    convolution = keras.layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, name=f"depthwise_{name}"
    )
    return _normalized_relu(convolution(x), f"depthwise_{name}")


def _normalized_relu(x: Any, name: str) -> Any:
    import keras

    normalization = keras.layers.BatchNormalization(momentum=_BATCH_NORMALIZATION_MOMENTUM, name=f"{name}_bn")
    return keras.layers.ReLU(name=f"{name}_relu")(normalization(x))
