"""From one second of sound to the head's input, by the same integers as firmware/lib/kws.

The rule, to the bit:

1. TensorFlow's microfrontend with the settings of the package pymicro-features (16 kHz, window 30 ms,
   stride 10 ms, 40 channels from 125 to 7,500 Hz, noise reduction, PCAN gain, log), its state fresh for
   every recording. The 16,000 samples go in as 100 chunks of 160; the first two give nothing, each of the
   others one frame: 98 frames of 40 unsigned integers of 16 bits (the package multiplies them by
   `FRONTEND_SCALE`).
2. Frames 2t and 2t+1 are joined: ``u = min(255, (3 * (frame[2t][c] + frame[2t+1][c])) >> 4)``, in uint32.
   That gives 49 x 40 values of 0 to 255 (the largest sums seen are about 1,330, so 255 is hardly ever
   reached).
3. The head's input is ``q = u - 128``, int8, in the order [t][c], shape 49 x 40 x 1. Its scale is 1/128
   and its zero point -128, so that the real value is u / 128, 0 to 1.9921875. The head's converted input
   must have just this scale and zero point; calibration data that reaches both ends makes it so.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pymicro_features import create_frontend, process_samples

from cutlayer_kws.corpus import RECORDING_SAMPLES
from cutlayer_kws.errors import DemoError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cutlayer_kws.corpus import Corpus

CHUNK_SAMPLES = 160
CHANNELS = 40
FRAMES = 98
FRONTEND_SCALE = 10.0 / 256.0

INPUT_SHAPE = (FRAMES // 2, CHANNELS, 1)
INPUT_SCALE = 1.0 / 128.0
INPUT_ZERO_POINT = -128

_THREADS = 2


def frontend_frames(samples: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Step 1: int16 [16000] to uint16 [98, 40]."""
    if samples.shape != (RECORDING_SAMPLES,):
        raise DemoError(
            f"a recording has shape {samples.shape}", f"the front end takes ({RECORDING_SAMPLES},) samples"
        )
    data = samples.astype("<i2").tobytes()
    chunk_bytes = 2 * CHUNK_SAMPLES
    frontend = create_frontend()
    chunks = (
        process_samples(frontend, data[first : first + chunk_bytes])[0]
        for first in range(0, len(data), chunk_bytes)
    )
    frames = np.array([frame for frame in chunks if frame], dtype=np.float64)
    return np.rint(frames / FRONTEND_SCALE).astype(np.uint16)


def join_frames(frames: NDArray[np.uint16]) -> NDArray[np.int8]:
    """Steps 2 and 3: uint16 [98, 40] to int8 [49, 40, 1]."""
    wide = frames.astype(np.uint32)
    joined = np.minimum(255, (3 * (wide[0::2] + wide[1::2])) >> 4).astype(np.int16)
    return np.asarray(joined - 128, dtype=np.int8).reshape(INPUT_SHAPE)


def features(samples: NDArray[np.int16]) -> NDArray[np.int8]:
    """One recording, int16 [16000], to the head's input, int8 [49, 40, 1]."""
    return join_frames(frontend_frames(samples))


def real_input(quantized: NDArray[np.int8]) -> NDArray[np.float32]:
    """The float32 values that int8 input stands for: what the Keras model takes."""
    return (quantized.astype(np.float32) - np.float32(INPUT_ZERO_POINT)) * np.float32(INPUT_SCALE)


def corpus_features(corpus: Corpus) -> NDArray[np.int8]:
    """Features of all recordings of `corpus`, int8 [count, 49, 40, 1]; kept beside the corpus."""
    kept = _kept_file(corpus)
    if kept.exists():
        found: NDArray[np.int8] = np.load(kept)
        if found.shape == (corpus.count, *INPUT_SHAPE):
            return found
    with ThreadPoolExecutor(_THREADS) as threads:
        made = np.stack(list(threads.map(features, corpus.audio)))
    unfinished = kept.with_name("unfinished." + kept.name)
    np.save(unfinished, made)
    unfinished.rename(kept)
    return made


def _kept_file(corpus: Corpus) -> Path:
    key = hashlib.sha256(Path(__file__).read_bytes() + version("pymicro-features").encode())
    return corpus.folder / f"features-{key.hexdigest()[:16]}.npy"
