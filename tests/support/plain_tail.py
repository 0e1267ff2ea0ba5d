"""A linear tail in NumPy with the face of cutlayer_host.tail.Tail: starts at once, learns, repeats."""

from __future__ import annotations

import zlib

import numpy as np

from cutlayer_host.tail import TailStep


class PlainTail:
    def __init__(self, count: int, classes: int) -> None:
        self.name = "plain"
        self.count = count
        self.class_count = classes
        self.tensorflow_seconds = 0.0
        self.poisoned_label = -1
        self.applied = 0
        self.weights = np.random.default_rng(1).normal(0, 0.05, (count, classes))
        self.discard()

    def _probabilities(self, values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
        self._smashed = (values.astype(np.float64) - zero_point) * scale
        logits = self._smashed @ self.weights
        exponents = np.exp(logits - logits.max())
        return exponents / exponents.sum()

    def step(self, values: np.ndarray, scale: float, zero_point: int, label: int) -> TailStep:
        probabilities = self._probabilities(values, scale, zero_point)
        error = probabilities - np.eye(self.class_count)[label]
        self._accumulator += np.outer(self._smashed, error)
        gradient = (self.weights @ error).astype(np.float32)
        if label == self.poisoned_label:
            gradient[0] = np.nan
        return TailStep(-float(np.log(probabilities[label])), int(probabilities.argmax()), gradient)

    def apply(self, samples: int, learning_rate: float) -> None:
        self.weights -= learning_rate * self._accumulator / samples
        self.applied += 1
        self.discard()

    def discard(self) -> None:
        self._accumulator = np.zeros_like(self.weights)

    def state(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights.copy(), "applied": np.array(self.applied)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.weights = state["weights"].copy()
        self.applied = int(state["applied"])
        self.discard()

    def predict(self, values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
        return self._probabilities(values, scale, zero_point).astype(np.float32)

    def weights_crc(self) -> int:
        return zlib.crc32(self.weights.tobytes())
