"""Somebody on the line who keeps every byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutlayer_host.transports import Transport


class Ear:
    """A transport that keeps all that passes."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.url = transport.url
        self.up, self.down = bytearray(), bytearray()

    async def read(self, max_bytes: int) -> bytes:
        data = await self.transport.read(max_bytes)
        self.up += data
        return data

    async def write(self, data: bytes) -> None:
        self.down += data
        await self.transport.write(data)

    async def close(self) -> None:
        await self.transport.close()
