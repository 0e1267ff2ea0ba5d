"""What training and measuring came to: a step, all steps, an evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cutlayer_host.tail import Tail


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step that both sides have made.

    Attributes:
        step: its number, from 1.
        loss: the mean over its samples, before the step; `correct` counts likewise.
        weights_crc: of the board's layer after the step; None when the head is not updated.
        saturated: outputs of the step at the end of their range; `scale` is what the next step begins with.
        clipped: gradient elements beyond the scale.
    """

    step: int
    samples: int
    loss: float
    correct: int
    weights_crc: int | None
    saturated: int
    scale: float
    clipped: int


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What training came to.

    Attributes:
        loss, accuracy: the mean over all samples, each before it was learned.
        weights_crc: of the board's layer at the end; None when the head was not updated.
        tail_crc: of the tail's weights at the end.
        seconds: it took; `tensorflow_seconds` of them in TensorFlow.
    """

    steps: int
    samples: int
    loss: float
    accuracy: float
    weights_crc: int | None
    tail_crc: int
    seconds: float
    tensorflow_seconds: float


class Tally:
    """Adds up steps into a report, from now on."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._began = time.perf_counter()
        self._tensorflow_began = tail.tensorflow_seconds
        self._steps = self._samples = self._correct = 0
        self._loss = 0.0
        self._weights_crc: int | None = None

    def add(self, done: StepDone) -> None:
        """Counts a step."""
        self._steps += 1
        self._samples += done.samples
        self._correct += done.correct
        self._loss += done.loss * done.samples
        self._weights_crc = done.weights_crc

    def report(self) -> TrainReport:
        """What it came to so far. Call it in the tail's thread."""
        return TrainReport(
            steps=self._steps,
            samples=self._samples,
            loss=self._loss / max(self._samples, 1),
            accuracy=self._correct / max(self._samples, 1),
            weights_crc=self._weights_crc,
            tail_crc=self._tail.weights_crc(),
            seconds=time.perf_counter() - self._began,
            tensorflow_seconds=self._tail.tensorflow_seconds - self._tensorflow_began,
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well head and tail do together; `confusion` is int64 [label, predicted]."""

    samples: int
    loss: float
    accuracy: float
    confusion: npt.NDArray[np.int64]
