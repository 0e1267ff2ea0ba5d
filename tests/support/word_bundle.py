"""The demo's network for three words, pretrained in a few seconds on three others, and converted once.

Run as a program (`word_bundle.py FOLDER`) it makes the bundle: no TensorFlow in the tests' process.
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
WORDS = ("yes", "no", "stop")
PRETRAINED_WORDS = ("up", "down", "left")
RECORDINGS = 180


def word_bundle() -> Path:
    """The bundle's folder, for the native board."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted([*(ROOT / "converter").rglob("*"), *(ROOT / "demos").rglob("model.py")]):
        if path.suffix in {".py", ".j2"}:
            digest.update(path.read_bytes())
    folder = KEPT / f"words-{digest.hexdigest()[:16]}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "words.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, str(folder)]
            subprocess.run(command, check=True, env={**os.environ, **quiet}, stdout=subprocess.DEVNULL)
    return folder


def _make(folder: Path) -> None:
    import numpy as np

    from cutlayer_boards.spec import board
    from cutlayer_converter.convert import convert
    from cutlayer_kws import model as network
    from cutlayer_kws.features import features
    from cutlayer_kws.speech import TRAIN_VARIANTS, Utterance, synthesize

    labels = np.arange(RECORDINGS, dtype=np.uint8) % len(PRETRAINED_WORDS)
    heard = [
        Utterance(PRETRAINED_WORDS[label], "en-us", TRAIN_VARIANTS[i // 3], 30 + i % 40, 130 + i % 60, i)
        for i, label in enumerate(labels)
    ]
    inputs = np.stack([features(synthesize(utterance)) for utterance in heard])
    pretraining = network.Pretraining(
        words=len(PRETRAINED_WORDS), recordings=RECORDINGS, epochs=8, batch_size=16
    )
    model = network.extend_to_words(network.pretrain(inputs, labels, pretraining, seed=1), len(WORDS), seed=1)
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        scratch = Path(name)
        model.save(scratch / "model.keras")
        network.write_calibration(scratch / "calibration.npz", inputs)
        convert(
            scratch / "model.keras",
            network.CUT_LAYER,
            board("native"),
            scratch / "calibration.npz",
            scratch / "bundle",
            class_names=WORDS,
        )
        (scratch / "bundle").rename(folder)


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
