"""What training and measuring came to: a step, all steps, an evaluation."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        visited: samples of the training so far, this step's included.
        seconds: from asking for its first sample until both sides had made it.
    """

    step: int
    samples: int
    loss: float
    correct: int
    weights_crc: int | None
    saturated: int
    scale: float
    clipped: int
    visited: int = 0
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What training came to.

    Attributes:
        loss, accuracy: the mean over all samples, each before it was learned.
        weights_crc: of the board's layer at the end; None when the head was not updated.
        tail_crc: of the tail's weights at the end.
        seconds: it took; `tensorflow_seconds` of them in TensorFlow.
        step_median_ms, step_p99_ms: how long a step took.
    """

    steps: int
    samples: int
    loss: float
    accuracy: float
    weights_crc: int | None
    tail_crc: int
    seconds: float
    tensorflow_seconds: float
    step_median_ms: float
    step_p99_ms: float


class Tally:
    """Adds up steps into a report, from now on; a step that is made again counts once."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._began = time.perf_counter()
        self._tensorflow_began = tail.tensorflow_seconds
        self._done: dict[int, StepDone] = {}

    def add(self, done: StepDone) -> None:
        """Counts a step."""
        self._done[done.step] = done

    def report(self) -> TrainReport:
        """What it came to so far. Call it in the tail's thread."""
        every = self._done.values()
        samples = sum(done.samples for done in every)
        return TrainReport(
            steps=len(every),
            samples=samples,
            loss=sum(done.loss * done.samples for done in every) / max(samples, 1),
            accuracy=sum(done.correct for done in every) / max(samples, 1),
            weights_crc=self._done[max(self._done)].weights_crc if every else None,
            tail_crc=self._tail.weights_crc(),
            seconds=time.perf_counter() - self._began,
            tensorflow_seconds=self._tail.tensorflow_seconds - self._tensorflow_began,
            step_median_ms=percentile_ms(every, 50),
            step_p99_ms=percentile_ms(every, 99),
        )


def percentile_ms(steps: Iterable[StepDone], percent: float) -> float:
    """How long a step took: the time that `percent` of the steps did not exceed. 0 for no steps."""
    seconds = sorted(done.seconds for done in steps)
    place = math.ceil(percent / 100 * len(seconds)) - 1
    return 1000.0 * seconds[max(place, 0)] if seconds else 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well head and tail do together; `confusion` is int64 [label, predicted]."""

    samples: int
    loss: float
    accuracy: float
    confusion: npt.NDArray[np.int64]
