"""Checkpoints: what a side must remember to go on from a step as if nothing had happened.

A ledger keeps the host's checkpoints of one run. Its rules, which tests/model explores in full:

- a checkpoint is durable before the board is asked to save the same step;
- it stays as long as the board may still hold that step in one of its two slots: once the board says that it
  has saved a step, only what is older than the step saved before that goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cutlayer_host.errors import TailError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cutlayer_host.gradient import GradientQuantizer
    from cutlayer_host.tail import Tail

GRADIENT_PEAK = "gradient/peak"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The host's side after a step, and how to know the board's.

    Attributes:
        step: steps made so far.
        arrays: the tail and the gradient's running maximum (Trainer).
        weights_crc: of the board's layer then; None: never told.
    """

    step: int
    arrays: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    weights_crc: int | None = None

    @property
    def tail_weights(self) -> list[npt.NDArray[Any]]:
        """The tail's, in its order (Tail.state)."""
        count = sum(name.startswith("weights/") for name in self.arrays)
        return [self.arrays[f"weights/{i}"] for i in range(count)]


class Ledger(Protocol):
    """The checkpoints of one run.

    Attributes:
        run: 1 to 2^32 - 1, by which a board knows whose steps it holds.
    """

    run: int

    def steps(self) -> list[int]:
        """The steps of all checkpoints, in order."""
        ...

    def keep(self, checkpoint: Checkpoint) -> None:
        """Takes a checkpoint in place of any of the same step; it is durable when this returns.

        Raises:
            StoreError: it cannot be kept; those there are stay as they were.
        """
        ...

    def load(self, step: int) -> Checkpoint:
        """Gives a checkpoint back.

        Raises:
            StoreError: it is not there any more, or damaged.
        """
        ...

    def saved(self, step: int) -> None:
        """The board holds `step` too: drops what neither side needs any more."""
        ...

    def go_back(self, step: int) -> None:
        """The run goes on from `step`: drops all that came after it."""
        ...


class MemoryLedger:
    """A ledger that does not outlive the process: it survives lost links and boards that restart."""

    def __init__(self, run: int) -> None:
        self.run = run
        self._kept: dict[int, Checkpoint] = {}
        self._saved: int | None = None

    def steps(self) -> list[int]:
        """See Ledger.steps."""
        return sorted(self._kept)

    def keep(self, checkpoint: Checkpoint) -> None:
        """See Ledger.keep."""
        self._kept[checkpoint.step] = checkpoint

    def load(self, step: int) -> Checkpoint:
        """See Ledger.load."""
        return self._kept[step]

    def saved(self, step: int) -> None:
        """See Ledger.saved."""
        for old in superseded(self.steps(), self._saved):
            del self._kept[old]
        self._saved = step

    def go_back(self, step: int) -> None:
        """See Ledger.go_back."""
        for later in [kept for kept in self._kept if kept > step]:
            del self._kept[later]


def superseded(steps: list[int], saved_before: int | None) -> list[int]:
    """The checkpoints that a save makes useless; `saved_before` is the step that was saved before it.

    The first stays: where a run began, a board that has lost everything can begin again.
    """
    return [step for step in steps[1:] if saved_before is not None and step < saved_before]


class Past:
    """What the host's side was after earlier steps. Call it in the tail's thread."""

    def __init__(self, tail: Tail, gradient: GradientQuantizer, ledger: Ledger) -> None:
        self._tail = tail
        self._gradient = gradient
        self._ledger = ledger

    def keep(self, step: int, weights_crc: int | None) -> None:
        """Makes the present state a checkpoint. Raises StoreError."""
        peak = np.float64(self._gradient.running_peak)
        self._ledger.keep(
            Checkpoint(step, {**self._tail.state(), GRADIENT_PEAK: np.asarray(peak)}, weights_crc)
        )

    def go_back(self, checkpoint: Checkpoint) -> None:
        """Makes all as it was then.

        Raises:
            StoreError, TailError: the checkpoint cannot be used; nothing has changed.
        """
        arrays = dict(checkpoint.arrays)
        peak = arrays.pop(GRADIENT_PEAK, None)
        if peak is None or peak.shape != ():
            raise TailError(
                f"the checkpoint of step {checkpoint.step} has no {GRADIENT_PEAK}", "begin a new run"
            )
        self._tail.restore(arrays)
        self._gradient.running_peak = float(peak)
        self._ledger.go_back(checkpoint.step)
