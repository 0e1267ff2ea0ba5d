"""Where buffers lie in one memory: those whose lives overlap never share bytes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ALIGNMENT = 16
SHUFFLES = 200


@dataclass(slots=True)
class Buffer:
    """Bytes that are needed from step `first` to step `last`."""

    size: int
    first: int
    last: int
    offset: int = 0

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed at one step."""
        return self.first <= other.last and other.first <= self.last


def peak(buffers: list[Buffer]) -> int:
    """Bytes needed at the worst step: no placement takes less."""
    steps = range(max(buffer.last for buffer in buffers) + 1)
    return max(
        sum(align(other.size) for other in buffers if other.first <= step <= other.last) for step in steps
    )


def place(buffers: list[Buffer], low: Buffer | None = None) -> int:
    """Gives every buffer its offset, and `low` as low a one as costs nothing; returns the arena's bytes."""
    buffers = [buffer for buffer in buffers if buffer.size]
    floor = peak(buffers)
    best: tuple[tuple[int, int], list[int]] | None = None
    for order in _orders(buffers, low):
        found = _place_in(order), low.offset if low else 0
        if best is None or found < best[0]:
            best = found, [buffer.offset for buffer in buffers]
        if found == (floor, 0):
            break
    assert best is not None
    for buffer, offset in zip(buffers, best[1], strict=True):
        buffer.offset = offset
    return best[0][0]


def greedy(buffers: list[Buffer]) -> int:
    """As `place`, in one order only: the largest first, and of equals the one that comes last.

    So TensorFlow Lite Micro's GreedyMemoryPlanner does it.
    """
    order = sorted(enumerate(buffers), key=lambda item: (-align(item[1].size), -item[0]))
    return _place_in([buffer for _, buffer in order])


def _place_in(order: list[Buffer]) -> int:
    total = 0
    for position, buffer in enumerate(order):
        buffer.offset = _gap(buffer, order[:position])
        total = max(total, buffer.offset + align(buffer.size))
    return total


def _orders(buffers: list[Buffer], low: Buffer | None) -> Iterator[list[Buffer]]:
    """Orders to try; each with `low` first too, which puts it at 0."""
    generator = random.Random(0)
    orders = [
        sorted(buffers, key=lambda buffer: -buffer.size),
        sorted(buffers, key=lambda buffer: (buffer.first, -buffer.size)),
        sorted(buffers, key=lambda buffer: (buffer.first - buffer.last, -buffer.size)),
    ]
    for turn in range(len(orders) + SHUFFLES):
        order = orders[turn] if turn < len(orders) else generator.sample(buffers, len(buffers))
        yield order
        if low is not None:
            yield [low, *(buffer for buffer in order if buffer is not low)]


def _gap(buffer: Buffer, placed: list[Buffer]) -> int:
    """The lowest offset where no placed buffer that meets this one lies."""
    offset = 0
    for other in sorted((other for other in placed if other.meets(buffer)), key=lambda other: other.offset):
        if offset + align(buffer.size) <= other.offset:
            break
        offset = max(offset, other.offset + align(other.size))
    return offset


def align(size: int) -> int:
    """The size rounded up to the alignment of a place in the arena."""
    return -(-size // ALIGNMENT) * ALIGNMENT
