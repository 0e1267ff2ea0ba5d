"""A transport over an asyncio stream: what serial ports and sockets share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cutlayer_host.errors import TransportError

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

STREAM_LIMIT_BYTES = 1 << 16
"""Bytes that a stream holds for us before it stops reading from the system."""


class StreamTransport:
    """A transport over an asyncio stream."""

    def __init__(self, url: str, reader: StreamReader, writer: StreamWriter) -> None:
        self._url = url
        self._reader = reader
        self._writer = writer
        # A write ends when the system has taken all: what waits in here would only grow old.
        writer.transport.set_write_buffer_limits(high=0)

    @property
    def url(self) -> str:
        """The URL that was opened, or the address that connected."""
        return self._url

    async def read(self, max_bytes: int) -> bytes:
        """See `Transport.read`."""
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise TransportError(f"{self._url}: reading failed: {error}", _PIPE_HINT) from error

    async def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise TransportError(f"{self._url}: writing failed: {error}", _PIPE_HINT) from error

    async def close(self) -> None:
        """See `Transport.close`."""
        self._writer.close()
        # The pipe may be broken already: there is nothing left to lose.
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


_PIPE_HINT = "check the cable and the board's power, then connect again"
