"""A network so small that a native board trains it in seconds, and the board's recordings.

Twelve by eight patterns of four classes in noise. The head is two convolutions; the board trains the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_boards.build import Firmware

CLASSES = 4
RECORDINGS = 96
SHAPE = (12, 8, 1)


@dataclass(frozen=True)
class TinyBoard:
    bundle: Path
    firmware: Firmware
    microphone: Path
    labels: list[int]


def make_tiny_board(folder: Path, *, seed: int = 3) -> TinyBoard:
    """Converts and builds; another `seed` makes another model."""
    from cutlayer_boards.build import build_firmware
    from cutlayer_boards.spec import board
    from cutlayer_converter.convert import convert
    from cutlayer_converter.quiet import quiet_tensorflow

    quiet_tensorflow()
    folder.mkdir(parents=True, exist_ok=True)
    native = board("native")
    patterns, labels = _patterns()
    np.savez(folder / "calibration.npz", x=patterns[:32])
    _model(seed).save(folder / "model.keras")
    bundle = folder / "bundle"
    manifest = convert(folder / "model.keras", "cut", native, folder / "calibration.npz", bundle)
    heard = np.rint(patterns / manifest.input.scale) + manifest.input.zero_point
    microphone = folder / "microphone"
    microphone.write_bytes(np.clip(heard, -128, 127).astype(np.int8).tobytes())
    microphone.with_name("microphone.labels").write_bytes(bytes(labels))
    return TinyBoard(bundle, build_firmware(native, bundle), microphone, labels)


def _patterns() -> tuple[np.ndarray, list[int]]:
    random = np.random.default_rng(7)
    prototypes = random.normal(0, 1, (CLASSES, *SHAPE))
    labels = [index % CLASSES for index in range(RECORDINGS)]
    noise = random.normal(0, 0.5, (RECORDINGS, *SHAPE))
    return (prototypes[labels] + noise).astype(np.float32), labels


def _model(seed: int):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(16, 1)(x)
    x = layers.ReLU(name="cut")(x)
    x = layers.Conv2D(16, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(x))
