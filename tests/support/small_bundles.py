"""Bundles that emulated boards run in tests, converted once from Keras models made here.

Run as a program (`small_bundles.py NAME BOARD FOLDER`) it makes one: no TensorFlow in the tests' process.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "tests" / "bundles"

TINY_INPUT = (12, 10, 1)
AUDIO_INPUT = (49, 40, 1)


def small_bundle(name: str, board_name: str = "native") -> Path:
    """The folder of bundle "tiny" (three layers, trainable) or "listener" (gives its input back).

    The kernels of the native board run on every board; other boards may get their own.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted((ROOT / "converter").rglob("*")):
        if path.suffix in {".py", ".j2"}:
            digest.update(path.read_bytes())
    folder = KEPT / f"{name}-{board_name}-{digest.hexdigest()[:16]}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, name, board_name, str(folder)]
            subprocess.run(command, check=True, env={**os.environ, **quiet}, stdout=subprocess.DEVNULL)
    return folder


def _tiny(layers, keras):
    return keras.Sequential(
        [
            keras.Input(TINY_INPUT),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(8, 1, activation="relu", name="cut"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )


def _listener(layers, keras):
    one = keras.initializers.Constant(1.0)
    return keras.Sequential(
        [
            keras.Input(AUDIO_INPUT),
            layers.Conv2D(1, 1, use_bias=False, kernel_initializer=one, name="cut"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def _make(name: str, board_name: str, folder: Path) -> None:
    import keras
    import numpy as np
    from keras import layers

    from cutlayer_boards.spec import board
    from cutlayer_converter.convert import convert

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    if name == "tiny":
        model, low, high = _tiny(layers, keras), -1.0, 1.0
    else:
        model, low, high = _listener(layers, keras), 0.0, 255 / 128
    samples = rng.uniform(low, high, (32, *model.input_shape[1:])).astype(np.float32)
    samples[0, 0, 0], samples[0, 0, 1] = low, high
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        model.save(Path(scratch) / "model.keras")
        np.savez(Path(scratch) / "samples.npz", x=samples)
        made = Path(scratch) / "bundle"
        convert(
            Path(scratch) / "model.keras",
            "cut",
            board(board_name),
            Path(scratch) / "samples.npz",
            made,
            shallowest_cut="depthwise_conv2d" if name == "tiny" else None,
        )
        made.rename(folder)


if __name__ == "__main__":
    _make(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
