"""What the demo does in its worker processes, beside lessons: everything that needs TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cutlayer_kws.corpus import Corpus, load_corpus
from cutlayer_kws.features import INPUT_SCALE, INPUT_ZERO_POINT, corpus_features

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cutlayer_converter.bundle import Manifest, Optimizer
    from cutlayer_converter.trainable import Master
    from cutlayer_kws.budget import Budget
    from cutlayer_kws.model import Pretraining

MODEL_FILE = "model.keras"
CALIBRATION_FILE = "calibration.npz"
BUDGET_BOARD = "qemu_mps2_an386"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A pretrained network, converted.

    Attributes:
        bundle: Its folder.
        manifest: The bundle's.
        accuracy: Of the float network on the test recordings of the words it was pretrained on.
        words: How many words that are.
    """

    bundle: Path
    manifest: Manifest
    accuracy: float
    words: int


@dataclass(frozen=True, slots=True)
class CentralResult:
    """A network trained centrally, and converted to be measured on a board.

    Attributes:
        bundle: Its folder.
        float_accuracy: Of the float network on the test recordings.
        correct: Of each step's samples, the share named rightly before the step.
    """

    bundle: Path
    float_accuracy: float
    correct: list[float]


def prepare(
    corpus_folder: Path,
    folder: Path,
    settings: Pretraining,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> Prepared:
    """Pretrains on five words, extends to all, and converts: `folder`/model.keras and `folder`/bundle."""
    from cutlayer_kws import model as network

    on_progress(0, 1)
    corpus, features, labels = _training_set(corpus_folder)
    pretrained = network.pretrain(
        features[: corpus.train_count], labels[: corpus.train_count], settings, seed=seed
    )
    test = corpus.test[labels[corpus.test] < settings.words]
    accuracy = network.accuracy(pretrained, features[test], labels[test])
    model = network.extend_to_words(pretrained, len(corpus.words), seed=seed)
    known = network.pretraining_indices(labels[: corpus.train_count], settings)
    manifest = _convert(model, folder, corpus, features[known])
    on_progress(1, 1)
    return Prepared(folder / "bundle", manifest, accuracy, settings.words)


def convert_for(
    source: Path,
    words: tuple[str, ...],
    out: Path,
    optimizer: Optimizer,
    master: Master,
    *,
    board_name: str = BUDGET_BOARD,
) -> Manifest:
    """Converts the network of the folder `source` for a board that keeps its layer so."""
    from cutlayer_boards.spec import board
    from cutlayer_converter.convert import convert
    from cutlayer_kws.model import CUT_LAYER

    return convert(
        source / MODEL_FILE,
        CUT_LAYER,
        board(board_name),
        source / CALIBRATION_FILE,
        out,
        optimizer=optimizer,
        master=master,
        class_names=words,
    )


def train_centrally(
    corpus_folder: Path,
    start: Path,
    folder: Path,
    budget: Budget,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> CentralResult:
    """Trains all layers of `start`/model.keras on the samples of a split run, and converts the result."""
    from cutlayer_kws import simulation

    corpus, features, labels = _training_set(corpus_folder)
    model = _load(start / MODEL_FILE)
    order = budget.order(corpus.train_count, seed)
    budget = replace(budget, tail_learning_rate=budget.central_learning_rate)
    correct = simulation.train_central(
        model, features, labels, order, budget, lambda step: on_progress(step, budget.steps)
    )
    accuracy = simulation.evaluate(model, features, labels, corpus.test)
    _convert(model, folder, corpus, features[: corpus.train_count])
    return CentralResult(folder / "bundle", accuracy, correct)


def simulate(
    corpus_folder: Path, start: Path, budget: Budget, seed: int, on_progress: Callable[[int, int], None]
) -> float:
    """The split run in float32, without a board. Returns the accuracy on the test recordings."""
    from cutlayer_kws import simulation

    corpus, features, labels = _training_set(corpus_folder)
    model = _load(start / MODEL_FILE)
    order = budget.order(corpus.train_count, seed)
    simulation.simulate_split(
        model, features, labels, order, budget, lambda step: on_progress(step, budget.steps)
    )
    return simulation.evaluate(model, features, labels, corpus.test)


def _training_set(corpus_folder: Path) -> tuple[Corpus, NDArray[np.int8], NDArray[np.uint8]]:
    corpus = load_corpus(corpus_folder)
    return corpus, corpus_features(corpus), corpus.labels


def _load(path: Path) -> Any:
    import keras

    return keras.saving.load_model(path, compile=False)


def _convert(model: Any, folder: Path, corpus: Corpus, calibration: NDArray[np.int8]) -> Manifest:
    from cutlayer_kws.errors import DemoError
    from cutlayer_kws.model import write_calibration

    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / MODEL_FILE)
    write_calibration(folder / CALIBRATION_FILE, calibration)
    manifest = convert_for(folder, corpus.words, folder / "bundle", "adam", "float32")
    if (manifest.input.scale, manifest.input.zero_point) != (INPUT_SCALE, INPUT_ZERO_POINT):
        raise DemoError(
            f"the converted head's input has scale {manifest.input.scale} and zero point "
            f"{manifest.input.zero_point}; the features have {INPUT_SCALE} and {INPUT_ZERO_POINT}",
            "the calibration data must reach both ends of the features' range",
        )
    return manifest
