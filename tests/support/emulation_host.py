"""The host's side of tests with emulated boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host.codes import Optimizer
from cutlayer_host.host_messages import Configure

if TYPE_CHECKING:
    from cutlayer_host.device import Device

SECTIONS = ("weights", "bias", "weight scales", "master", "moment 1", "moment 2")
GRADIENT_SCALE = 1e-3
LEARNING_RATE = 0.01


def configure_adam(cut: int) -> Configure:
    return Configure(restart=True, cut=cut, optimizer=Optimizer.ADAM, momentum=0.9, beta2=0.999, epsilon=1e-7)


def configure_sgd(cut: int) -> Configure:
    return Configure(restart=True, cut=cut, optimizer=Optimizer.SGD, momentum=0.9)


@dataclass(frozen=True, slots=True)
class Visit:
    """One sample of a lesson: the recording, and a seed of its gradient."""

    recording: int
    seed: int


def lesson(steps: int, batch: int, recordings: int) -> list[list[Visit]]:
    """The same steps for every board."""
    rng = np.random.default_rng(7)
    return [
        [Visit(int(rng.integers(recordings)), int(rng.integers(2**31))) for _ in range(batch)]
        for _ in range(steps)
    ]


def gradient(visit: Visit, masked: np.ndarray) -> np.ndarray:
    """int8 [count], zero where masked."""
    values = np.random.default_rng(visit.seed).integers(-127, 128, masked.size).astype(np.int8)
    values[masked] = 0
    return values


async def train(device: Device, steps: list[list[Visit]], first: int = 1) -> int:
    """Takes a lesson from step `first` on; returns the board's CRC-32 of the weights at its end."""
    weights_crc = 0
    for step, visits in enumerate(steps[first - 1 :], first):
        for number, visit in enumerate(visits):
            smashed = await device.sample(step * 1000 + number, visit.recording, train=True)
            device.gradient(smashed, gradient(visit, smashed.masked), GRADIENT_SCALE)
        weights_crc = (await device.apply(step, len(visits), LEARNING_RATE)).weights_crc
    return weights_crc


async def read_all(device: Device, sections: int = len(SECTIONS)) -> dict[str, bytes]:
    return {name: await device.read(index) for index, name in enumerate(SECTIONS[:sections])}
