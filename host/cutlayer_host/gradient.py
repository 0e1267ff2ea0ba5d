"""The gradient at the cut as the board takes it: small integers and one scale for a whole mini-batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

SMALLEST_PEAK = 1e-30
"""Stands in for a gradient of zeros: the wire wants a scale above 0."""


class GradientQuantizer:
    """Rounds gradients stochastically to [-limit, limit] with one scale for a whole mini-batch.

    The scale lets the largest gradient seen lately fit. It is picked at the first sample of a mini-batch:
    the running maximum or that sample. A later sample that is larger still is clipped, and raises the maximum
    for the next mini-batch. Rounding up or down by chance leaves the mean gradient where it was.

    All chance comes from the seed and the step's number: a mini-batch done again gives the same integers.
    """

    def __init__(self, limit: int, *, seed: int = 0, decay: float = 0.98) -> None:
        """Takes the largest integer of the codec and how much of the running maximum a mini-batch keeps."""
        self.limit = limit
        self.clipped = 0
        self._seed = seed
        self._decay = decay
        self._running_peak = 0.0
        self._step_peak = 0.0
        self._scale = 0.0
        self._random = np.random.default_rng([seed, 0])

    def begin(self, step: int) -> None:
        """Begins the mini-batch of `step`, perhaps not for the first time: forgets what came since `end`."""
        self._random = np.random.default_rng([self._seed, step])
        self._scale = 0.0
        self._step_peak = 0.0
        self.clipped = 0

    def quantize(
        self, gradient: npt.NDArray[np.float32], masked: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int8], float]:
        """Returns int8 [count], zero where `masked`, and the scale: gradient = scale * integer, on average.

        `gradient` is float32 [count] and finite; `masked` is bool [count].
        """
        open_gradient = np.where(masked, np.float32(0), gradient)
        peak = float(np.abs(open_gradient).max(initial=0.0))
        self._step_peak = max(self._step_peak, peak)
        if self._scale == 0.0:
            self._scale = max(self._running_peak, peak, SMALLEST_PEAK) / self.limit
        open_gradient *= np.float32(1.0 / self._scale)
        open_gradient += self._random.random(len(open_gradient), dtype=np.float32)
        np.floor(open_gradient, out=open_gradient)
        if peak > self._scale * self.limit:
            self.clipped += int(np.count_nonzero(np.abs(open_gradient) > self.limit))
        np.clip(open_gradient, -self.limit, self.limit, out=open_gradient)
        return open_gradient.astype(np.int8), self._scale

    def end(self) -> None:
        """Ends the mini-batch: its largest gradient enters the running maximum."""
        self._running_peak = max(self._running_peak * self._decay, self._step_peak)

    @property
    def running_peak(self) -> float:
        """All that later mini-batches depend on beside the seed: the running maximum after the last `end`."""
        return self._running_peak

    @running_peak.setter
    def running_peak(self, peak: float) -> None:
        self._running_peak = peak
