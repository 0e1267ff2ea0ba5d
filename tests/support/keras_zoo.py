"""Small Keras models that between them have every layer the converter takes, each with a cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.quiet import quiet_tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Entry:
    """A model, where to cut it, and what should come of it."""

    build: Callable[[Any], Any]  # keras.layers -> model
    cut: str
    kind: str | None  # of the trainable layer
    layer: str | None
    activation: str | None = None
    outputs: int = 4


def build(name: str, seed: int = 1) -> tuple[Any, np.ndarray]:
    """The model with random weights and statistics, and calibration inputs."""
    quiet_tensorflow()
    import keras

    keras.utils.set_random_seed(seed)
    model = ZOO[name].build(keras.layers)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, gamma.shape),
                    rng.normal(0, 0.2, beta.shape),
                    rng.normal(0, 0.2, mean.shape),
                    rng.uniform(0.5, 1.5, variance.shape),
                ]
            )
    samples = rng.normal(size=(40, *model.input_shape[1:])).astype(np.float32)
    return model, samples


def _model(layers: Any, start: Any, end: Any) -> Any:
    import keras

    return keras.Model(start, layers.Dense(4, name="out")(layers.Flatten(name="flat")(end)))


def sequential(layers: Any) -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((12, 10, 1)),
            layers.Conv2D(8, (4, 3), strides=2, padding="same", use_bias=False, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(name="relu1"),
            layers.DepthwiseConv2D(3, padding="same", name="depth2"),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(6.0, name="relu2"),
            layers.Dropout(0.3, name="drop"),
            layers.Conv2D(6, 1, name="conv3"),
            layers.BatchNormalization(name="norm3"),
            layers.ReLU(name="relu3"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(4, name="out"),
            layers.Softmax(name="chance"),
        ]
    )


def residual(layers: Any) -> Any:
    start = layers.Input((9, 9, 2))
    stem = layers.ReLU(name="stem")(layers.Conv2D(4, 3, strides=2, name="conv1")(start))
    left = layers.ReLU(name="left")(layers.Conv2D(4, 3, padding="same", name="conv2")(stem))
    left = layers.Conv2D(4, 3, padding="same", name="conv3")(left)
    joined = layers.ReLU(name="joined")(layers.Add(name="add")([stem, left]))
    return _model(layers, start, joined)


def depthwise(layers: Any) -> Any:
    start = layers.Input((11, 7, 3))
    x = layers.ZeroPadding2D(((1, 2), (0, 3)), name="pad")(start)
    x = layers.DepthwiseConv2D((3, 2), strides=(2, 2), depth_multiplier=2, name="depth1")(x)
    x = layers.ReLU(6.0, name="relu1")(x)
    x = layers.DepthwiseConv2D((2, 3), padding="same", depth_multiplier=1, name="depth2")(x)
    x = layers.BatchNormalization(name="norm2")(x)
    x = layers.ReLU(name="relu2")(x)
    return _model(layers, start, x)


def pooled(layers: Any) -> Any:
    start = layers.Input((10, 10, 2))
    x = layers.Conv2D(4, (1, 3), strides=(1, 2), padding="valid", activation="relu", name="conv1")(start)
    x = layers.MaxPooling2D((2, 2), strides=(2, 1), padding="same", name="most")(x)
    x = layers.AveragePooling2D((2, 2), padding="valid", name="mean")(x)
    x = layers.Flatten(name="flat1")(x)
    x = layers.Dense(12, activation="relu", name="dense1")(x)
    return _model(layers, start, x)


def softmax(layers: Any) -> Any:
    start = layers.Input((8, 6, 1))
    x = layers.BatchNormalization(name="norm0")(start)
    x = layers.Conv2D(5, 3, activation="relu6", name="conv1")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(6, name="dense1")(x)
    x = layers.Softmax(name="chance")(x)
    return _model(layers, start, x)


def reshaped(layers: Any) -> Any:
    start = layers.Input((6, 20))
    x = layers.Reshape((6, 5, 4), name="fold")(start)
    x = layers.Conv2D(6, 3, padding="same", strides=(3, 2), name="conv1")(x)
    x = layers.Flatten(name="unfold")(x)
    x = layers.Reshape((6, 6), name="rows")(x)
    return _model(layers, start, x)


def nested(layers: Any) -> Any:
    import keras

    inside = layers.Input((6, 6, 3))
    block = layers.ReLU(name="inner_relu")(layers.Conv2D(5, 3, name="inner_conv")(inside))
    start = layers.Input((6, 6, 3))
    x = keras.Model(inside, block, name="block")(start)
    return _model(layers, start, x)


ZOO = {
    "sequential": Entry(sequential, "relu3", "conv2d", "conv3", "relu"),
    "residual": Entry(residual, "joined", None, None),
    "depthwise": Entry(depthwise, "relu2", "depthwise", "depth2", "relu"),
    "pooled": Entry(pooled, "dense1", "dense", "dense1", "relu"),
    "softmax": Entry(softmax, "chance", None, None),
    "reshaped": Entry(reshaped, "rows", "conv2d", "conv1", "none"),
    "nested": Entry(nested, "block", "conv2d", "block", "relu"),
}
