"""An input as a list of choices: fuzzers find their way through states by changing bytes."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Choices:
    """Takes bytes of the input one after the other; when they are used up, noise."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.noise = random.Random(zlib.crc32(data))

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def below(self, bound: int) -> int:
        count = 1 if bound <= 1 << 8 else 2 if bound <= 1 << 16 else 4
        return int.from_bytes(self.take(count), "little") % bound

    def one_of(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def take(self, count: int) -> bytes:
        data = self._data[self._at : self._at + count]
        self._at += count
        return data + self.noise.randbytes(count - len(data))

    def rest(self) -> bytes:
        data, self._at = self._data[self._at :], len(self._data)
        return data
