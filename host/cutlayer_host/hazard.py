"""A line between a host and a board that misbehaves: a relay, for `cutlayer soak`.

The host finds it at a URL that stays, whatever becomes of the board behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cutlayer_host.errors import TransportError
from cutlayer_host.transports import listen_tcp, open_transport
from cutlayer_host.transports.faulty import FaultyWay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cutlayer_host.transports import Transport
    from cutlayer_host.transports.faulty import FaultCounts, FaultRates

READ_BYTES = 4096


class Hazard:
    """Relays one host to the board at `target()`, which is None while that is switched off.

    Attributes:
        url: where the host finds it, once it is open.
    """

    def __init__(
        self, target: Callable[[], str | None], rates: FaultRates, name: str, counts: FaultCounts
    ) -> None:
        self.url = ""
        self._target = target
        self._up = FaultyWay(rates, f"up {name}", counts)
        self._down = FaultyWay(rates, f"down {name}", counts)
        self._relays: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listens until the context ends."""
        async with listen_tcp("tcp://127.0.0.1:0", self._relay) as (host, port):
            self.url = f"tcp://{host}:{port}"
            try:
                yield
            finally:
                self.cut()
                await asyncio.gather(*self._relays, return_exceptions=True)

    @property
    def carrying(self) -> bool:
        """Whether a host and the board are connected now."""
        return bool(self._relays)

    def cut(self) -> None:
        """Breaks the connection that there is; what is on its way is lost."""
        for relay in self._relays:
            relay.cancel()

    async def _relay(self, host: Transport) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            url = self._target()
            with contextlib.suppress(TransportError, asyncio.CancelledError):
                if url is not None:
                    await self._join(host, await open_transport(url))
        finally:
            self._relays.discard(task)
            await host.close()

    async def _join(self, host: Transport, board: Transport) -> None:
        """Carries bytes until one side has gone."""
        self._up.forget()
        self._down.forget()
        ways = [
            asyncio.create_task(_carry(board, host, self._up)),
            asyncio.create_task(_carry(host, board, self._down)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await board.close()


async def _carry(source: Transport, target: Transport, way: FaultyWay) -> None:
    while data := await source.read(READ_BYTES):
        if passed := way.take(data):
            await target.write(passed)
