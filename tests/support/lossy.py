"""Transports that misbehave: one loses and mangles frames by chance, one breaks
after so many bytes, one falls silent."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutlayer_host.transports import Transport


class LossyTransport:
    """Drops or flips a bit of `fault_rate` of the frames, in each direction."""

    def __init__(self, inner: Transport, fault_rate: float, seed: int) -> None:
        self._inner = inner
        self._fault_rate = fault_rate
        self._up = random.Random(f"up {seed}")
        self._down = random.Random(f"down {seed}")
        self._partial = bytearray()
        self.faults = 0

    @property
    def url(self) -> str:
        return self._inner.url

    async def read(self, max_bytes: int) -> bytes:
        while data := await self._inner.read(max_bytes):
            self._partial += data
            *frames, rest = self._partial.split(b"\0")
            self._partial = bytearray(rest)
            if passed := b"".join(self._pass(bytes(frame) + b"\0", self._up) for frame in frames):
                return passed
        return b""

    async def write(self, data: bytes) -> None:
        # The link writes whole frames.
        frames = data.split(b"\0")[:-1]
        await self._inner.write(b"".join(self._pass(frame + b"\0", self._down) for frame in frames))

    async def close(self) -> None:
        await self._inner.close()

    def _pass(self, frame: bytes, rng: random.Random) -> bytes:
        if len(frame) == 1 or rng.random() >= self._fault_rate:
            return frame
        self.faults += 1
        if rng.random() < 0.5:
            return b""
        mangled = bytearray(frame)
        mangled[rng.randrange(len(mangled))] ^= 1 << rng.randrange(8)
        return bytes(mangled)


class CutTransport:
    """Breaks once `bytes_left` bytes have come."""

    def __init__(self, inner: Transport, bytes_left: int) -> None:
        self._inner = inner
        self._bytes_left = bytes_left

    @property
    def url(self) -> str:
        return self._inner.url

    async def read(self, max_bytes: int) -> bytes:
        data = await self._inner.read(min(max_bytes, self._bytes_left)) if self._bytes_left else b""
        self._bytes_left -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        await self._inner.write(data)

    async def close(self) -> None:
        await self._inner.close()


class MuteTransport:
    """Gives and takes nothing any more once `muted`, though the pipe stays open."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.muted = False

    @property
    def url(self) -> str:
        return self._inner.url

    async def read(self, max_bytes: int) -> bytes:
        data = await self._inner.read(max_bytes)
        if self.muted:
            await asyncio.Event().wait()
        return data

    async def write(self, data: bytes) -> None:
        if not self.muted:
            await self._inner.write(data)

    async def close(self) -> None:
        await self._inner.close()
