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
    """What happens to frames, each as a fraction of all frames, the same both ways; at most one of them.

    Attributes:
        loss: of frames that never arrive.
        corruption: of frames that arrive with one bit flipped, anywhere in them, the delimiter included.
        duplication: of frames that arrive twice.
        reordering: of frames that arrive after the next one.
        seed: of the chance; each way has its own.
    """

    loss: float = 0.0
    corruption: float = 0.0
    seed: int = 0
    duplication: float = 0.0
    reordering: float = 0.0


@dataclass(slots=True)
class FaultCounts:
    """Frames that have come by so far: all of them, and what befell some."""

    frames: int = 0
    lost: int = 0
    corrupted: int = 0
    duplicated: int = 0
    reordered: int = 0


class FaultyWay:
    """One direction of a line that misbehaves. Bytes in, bytes out; `counts` may be shared with others."""

    def __init__(self, rates: FaultRates, name: str, counts: FaultCounts) -> None:
        """`name` tells this way's chance from that of others with the same seed."""
        self.counts = counts
        self._rates = rates
        self._random = random.Random(f"{name} {rates.seed}")
        self._partial = b""
        self._held = b""

    def take(self, data: bytes) -> bytes:
        """What comes out for `data`: whole frames."""
        *frames, self._partial = (self._partial + data).split(DELIMITER)
        return b"".join(self._suffer(frame + DELIMITER) for frame in frames)

    def forget(self) -> None:
        """The line was cut: what was on its way is gone."""
        self._partial = self._held = b""

    def _suffer(self, frame: bytes) -> bytes:
        if frame == DELIMITER:  # an empty frame only clears the line
            return frame
        counts, rates = self.counts, self._rates
        counts.frames += 1
        late, self._held = self._held, b""
        fate = self._random.random()
        if fate < (limit := rates.loss):
            counts.lost += 1
            return late
        if fate < (limit := limit + rates.corruption):
            counts.corrupted += 1
            mangled = bytearray(frame)
            mangled[self._random.randrange(len(mangled))] ^= 1 << self._random.randrange(8)
            return bytes(mangled) + late
        if fate < (limit := limit + rates.duplication):
            counts.duplicated += 1
            return frame + frame + late
        if fate < limit + rates.reordering:
            counts.reordered += 1
            self._held = frame
            return late
        return frame + late


@dataclass(slots=True)
class FaultyTransport:
    """Does to frames what `rates` say, by chance. `counts` says what has happened so far, both ways."""

    inner: Transport
    rates: FaultRates
    counts: FaultCounts = field(default_factory=FaultCounts)
    _up: FaultyWay = field(init=False)
    _down: FaultyWay = field(init=False)
    _arrived: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        self._up = FaultyWay(self.rates, "up", self.counts)
        self._down = FaultyWay(self.rates, "down", self.counts)

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
            self._arrived = self._up.take(data)
        data, self._arrived = self._arrived[:max_bytes], self._arrived[max_bytes:]
        return data

    async def write(self, data: bytes) -> None:
        """See `Transport.write`; a frame goes out once it is whole."""
        if passed := self._down.take(data):
            await self.inner.write(passed)

    async def close(self) -> None:
        """See `Transport.close`."""
        await self.inner.close()


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
