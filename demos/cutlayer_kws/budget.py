"""What every run of the demo gets: the same samples in the same order, the same optimizer, the same rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host.optimizer import OptimizerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Budget:
    """How long and how fast a run learns. Rates fall linearly to zero, so that the last steps do not jitter.

    Attributes:
        visits: Sample visits; a mini-batch of `batch_size` of them is a step.
        batch_size: Samples a step.
        tail_learning_rate: At the first step, of the tail (of all layers in a central run: `central_...`).
        board_learning_rate: At the first step, of the board's layer.
        central_learning_rate: At the first step of a central run.
        optimizer: Of the tail, and of a central run.
        board_optimizer: Of the board's layer; None: as the tail's.
    """

    visits: int = 20_000
    batch_size: int = 8
    tail_learning_rate: float = 1e-2
    board_learning_rate: float = 1e-2
    central_learning_rate: float = 3e-3
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    board_optimizer: OptimizerSettings | None = None

    @property
    def steps(self) -> int:
        """Steps in all; the last may have fewer samples."""
        return -(-self.visits // self.batch_size)

    def tail_rate(self, step: int) -> float:
        """The tail's rate at `step`, counted from 1."""
        return self.tail_learning_rate * self._left(step)

    def board_rate(self, step: int) -> float:
        """The board's rate at `step`, counted from 1."""
        return self.board_learning_rate * self._left(step)

    def order(self, recordings: int, seed: int) -> NDArray[np.int64]:
        """The recordings to visit, [visits]: all of them in random order, again and again."""
        rng = np.random.default_rng([seed, 1])
        passes = -(-self.visits // recordings)
        return np.concatenate([rng.permutation(recordings) for _ in range(passes)])[: self.visits]

    def batches(self, order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The steps' recordings."""
        for first in range(0, len(order), self.batch_size):
            yield order[first : first + self.batch_size]

    def _left(self, step: int) -> float:
        return max(1.0 - (step - 1) / self.steps, 1.0 / self.steps)
