"""A bridge between two byte pipes: what comes from one is written to the other, both ways."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cutlayer_host.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cutlayer_host.transports.base import Transport

READ_BYTES = 4096


@asynccontextmanager
async def bridge(one: Transport, other: Transport) -> AsyncIterator[None]:
    """Joins two pipes while the context lasts, then closes both; when one ends, so does the other.

    A pipe is read no faster than the other takes it.
    """

    async def carry(source: Transport, sink: Transport) -> None:
        with contextlib.suppress(TransportError):
            while data := await source.read(READ_BYTES):
                await sink.write(data)
        await sink.close()

    tasks = [asyncio.create_task(carry(*ends)) for ends in ((one, other), (other, one))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await one.close()
        await other.close()
