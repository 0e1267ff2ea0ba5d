"""Transports that misbehave, each around another: for tests, and for `cutlayer bench faults`.

One loses and corrupts frames by chance, one breaks after so many bytes, one falls silent.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutlayer_host.transports.base import Transport

DELIMITER = b"\0"


@dataclass(frozen=True, slots=True)
class FaultRates:
    """What happens to frames, each as a fraction of all frames, the same both ways.

    Attributes:
        loss: of frames that never arrive.
        corruption: of frames that arrive with one bit flipped, anywhere in them, the delimiter included.
        seed: of the chance; each way has its own.
    """

    loss: float = 0.0
    corruption: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class FaultCounts:
    """Frames that have come by so far, both ways together: all of them, and what befell some."""

    frames: int = 0
    lost: int = 0
    corrupted: int = 0


@dataclass(slots=True)
class _Way:
    """One direction: its chance, and the beginning of a frame that is not whole yet."""

    random: random.Random
    partial: bytes = b""


@dataclass(slots=True)
class FaultyTransport:
    """Loses and corrupts frames by chance. `counts` says what has happened so far."""

    inner: Transport
    rates: FaultRates
    counts: FaultCounts = field(default_factory=FaultCounts)
    _up: _Way = field(init=False)
    _down: _Way = field(init=False)
    _arrived: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        self._up = _Way(random.Random(f"up {self.rates.seed}"))
        self._down = _Way(random.Random(f"down {self.rates.seed}"))

    @property
    def url(self) -> str:
        """The inner transport's."""
        return self.inner.url

    async def read(self, max_bytes: int) -> bytes:
        """See `Transport.read`; a frame comes in once it is whole."""
        while not self._arrived:
            data = await self.inner.read(max_bytes)
            if not data:
                return b""
            self._arrived = self._pass(data, self._up)
        data, self._arrived = self._arrived[:max_bytes], self._arrived[max_bytes:]
        return data

    async def write(self, data: bytes) -> None:
        """See `Transport.write`; a frame goes out once it is whole."""
        if passed := self._pass(data, self._down):
            await self.inner.write(passed)

    async def close(self) -> None:
        """See `Transport.close`."""
        await self.inner.close()

    def _pass(self, data: bytes, way: _Way) -> bytes:
        *frames, way.partial = (way.partial + data).split(DELIMITER)
        return b"".join(self._suffer(frame + DELIMITER, way.random) for frame in frames)

    def _suffer(self, frame: bytes, chance: random.Random) -> bytes:
        if frame == DELIMITER:  # an empty frame only clears the line
            return frame
        self.counts.frames += 1
        fate = chance.random()
        if fate < self.rates.loss:
            self.counts.lost += 1
            return b""
        if fate < self.rates.loss + self.rates.corruption:
            self.counts.corrupted += 1
            mangled = bytearray(frame)
            mangled[chance.randrange(len(mangled))] ^= 1 << chance.randrange(8)
            return bytes(mangled)
        return frame


class CutTransport:
    """Breaks once `bytes_left` bytes have come."""

    def __init__(self, inner: Transport, bytes_left: int) -> None:
        self._inner = inner
        self._bytes_left = bytes_left

    @property
    def url(self) -> str:
        """The inner transport's."""
        return self._inner.url

    async def read(self, max_bytes: int) -> bytes:
        """See `Transport.read`; closed once no byte is left."""
        data = await self._inner.read(min(max_bytes, self._bytes_left)) if self._bytes_left else b""
        self._bytes_left -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        await self._inner.write(data)

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._inner.close()


class MuteTransport:
    """Gives and takes nothing any more once `muted`, though the pipe stays open."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.muted = False

    @property
    def url(self) -> str:
        """The inner transport's."""
        return self._inner.url

    async def read(self, max_bytes: int) -> bytes:
        """See `Transport.read`; waits for ever once muted."""
        data = await self._inner.read(max_bytes)
        if self.muted:
            await asyncio.Event().wait()
        return data

    async def write(self, data: bytes) -> None:
        """See `Transport.write`; drops everything once muted."""
        if not self.muted:
            await self._inner.write(data)

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._inner.close()
