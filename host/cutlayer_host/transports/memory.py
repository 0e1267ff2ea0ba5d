"""A pair of transports in memory: a board and a host in one process, without a system call."""

from __future__ import annotations

import asyncio

from cutlayer_host.errors import TransportError


class _Channel:
    """One direction of a pair. Its reader and its writer wait for the same event and each looks again."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.data = bytearray()
        self.closed = False
        self.changed = asyncio.Event()

    async def wait(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    def close(self) -> None:
        self.closed = True
        self.changed.set()


class MemoryTransport:
    """One end of a pair; make them with `memory_pair`."""

    def __init__(self, url: str, incoming: _Channel, outgoing: _Channel) -> None:
        self._url = url
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def url(self) -> str:
        """The pair's name, and which end this is."""
        return self._url

    async def read(self, max_bytes: int) -> bytes:
        """See `Transport.read`."""
        channel = self._incoming
        while not channel.data:
            if channel.closed:
                return b""
            await channel.wait()
        data = bytes(channel.data[:max_bytes])
        del channel.data[:max_bytes]
        channel.changed.set()
        return data

    async def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        channel = self._outgoing
        while not channel.closed and len(channel.data) >= channel.capacity_bytes:
            await channel.wait()
        if channel.closed:
            raise TransportError(f"{self._url}: the pipe is closed")
        channel.data += data
        channel.changed.set()

    async def close(self) -> None:
        """Closes both directions; what was written before can still be read."""
        self._incoming.close()
        self._outgoing.close()


def memory_pair(
    name: str = "pair", *, capacity_bytes: int = 1 << 16
) -> tuple[MemoryTransport, MemoryTransport]:
    """Returns the host's and the board's end of a pipe.

    A write waits while the other end has `capacity_bytes` or more that it has not read.
    """
    up, down = _Channel(capacity_bytes), _Channel(capacity_bytes)
    return (
        MemoryTransport(f"memory://{name}/host", incoming=up, outgoing=down),
        MemoryTransport(f"memory://{name}/board", incoming=down, outgoing=up),
    )
