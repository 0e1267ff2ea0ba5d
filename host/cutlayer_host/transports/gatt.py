"""A byte pipe over GATT, for every Bluetooth stack and for both ends of a connection.

GATT carries values of a few bytes: writes without response towards a board, notifications from it. Here are
the rules that all stacks share: bytes are cut into values of the longest size that the connection takes; a
value that the stack refuses, because its queue is full, is offered again; a connection that ends is opened
anew. What a stack has to bring is a `Carrier` and, at the host's end, a `Connector`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from cutlayer_host.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

RECONNECT_SECONDS = 8.0
"""How long a board may be out of reach; less than the silence after which a link is given up."""
RETRY_SECONDS = 0.1


class CarrierGone(Exception):
    """The connection has ended, and the value at hand was not taken."""


class Carrier(Protocol):
    """One connection, as what takes values for the other side."""

    @property
    def value_bytes(self) -> int:
        """The most bytes that a value may have now, 1 or more. Raises CarrierGone."""
        ...

    async def send(self, value: bytes) -> bool:
        """Hands one value over; False means that it was refused, and nothing of it taken.

        Raises:
            CarrierGone.
        """
        ...

    async def ready(self) -> None:
        """Waits until a refused value is worth another try, or the connection has ended."""
        ...

    async def close(self) -> None:
        """Ends the connection. Closing twice is no error."""
        ...


class Connector(Protocol):
    """A Bluetooth stack that can reach one board, again and again."""

    async def connect(self, on_value: Callable[[bytes], None], gone: asyncio.Event) -> Carrier:
        """Finds the board and connects; every value that comes goes to `on_value`.

        Sets `gone` when the connection ends, whoever ended it. Cancelling it leaves no connection behind.

        Raises:
            TransportError: there is no Bluetooth, or the board is not there, or has no such service.
        """
        ...

    async def close(self) -> None:
        """Gives up what the stack holds. Closing twice is no error."""
        ...


class GattPipe:
    """A transport over whatever carrier is there; while there is none, a write waits."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._received = bytearray()
        self._carrier: Carrier | None = None
        self._ended = False
        self._error: TransportError | None = None
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The board's URL."""
        return self._url

    def attach(self, carrier: Carrier) -> None:
        """Takes a connection into use."""
        self._carrier = carrier
        self._changed.set()

    def detach(self, carrier: Carrier) -> None:
        """Does without a connection that has ended; what came over it can still be read."""
        if self._carrier is carrier:
            self._carrier = None

    def receive(self, value: bytes) -> None:
        """Takes a value from the other side. The link's credit bounds what can wait here."""
        self._received += value
        self._changed.set()

    def end(self, error: TransportError | None = None) -> None:
        """Ends the pipe: reads and writes raise `error`; without one, reads say that it is closed."""
        if not self._ended:
            self._ended, self._error = True, error
            self._changed.set()

    async def read(self, max_bytes: int) -> bytes:
        """See `Transport.read`."""
        while not self._received:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            await self._change()
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        return data

    async def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        sent = 0
        while sent < len(data):
            carrier = await self._attached()
            try:
                value = data[sent : sent + carrier.value_bytes]
                if await carrier.send(value):
                    sent += len(value)
                else:
                    await carrier.ready()
            except CarrierGone:
                self.detach(carrier)

    async def close(self) -> None:
        """See `Transport.close`."""
        carrier, self._carrier = self._carrier, None
        self.end()
        if carrier is not None:
            await carrier.close()

    async def _attached(self) -> Carrier:
        while True:
            if self._ended:
                raise self._error or TransportError(f"{self._url}: the pipe is closed")
            if self._carrier is not None:
                return self._carrier
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class GattTransport(GattPipe):
    """The host's end: it connects, and connects again when the connection is lost.

    What was on its way then is lost, or half of it is; the link above sends it again.

    Attributes:
        connections: how often it has connected.
    """

    def __init__(
        self, url: str, connector: Connector, *, reconnect_seconds: float = RECONNECT_SECONDS
    ) -> None:
        """Does nothing yet; see `open`."""
        super().__init__(url)
        self.connections = 0
        self._connector = connector
        self._reconnect_seconds = reconnect_seconds
        self._gone = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connects for the first time.

        Raises:
            TransportError: see `Connector.connect`.
        """
        try:
            carrier = await self._connect()
        except BaseException:
            await self._connector.close()
            raise
        self._keeper = asyncio.create_task(self._keep(carrier))

    def detach(self, carrier: Carrier) -> None:
        """See `GattPipe.detach`; the keeper then connects again."""
        if self._carrier is carrier:
            self._gone.set()
        super().detach(carrier)

    async def close(self) -> None:
        """See `Transport.close`."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await super().close()
        await self._connector.close()

    async def _connect(self) -> Carrier:
        gone = self._gone = asyncio.Event()

        def take(value: bytes) -> None:
            # A stack may be late with what came over a connection before this one.
            if self._gone is gone:
                self.receive(value)

        carrier = await self._connector.connect(take, gone)
        self.connections += 1
        self.attach(carrier)
        return carrier

    async def _keep(self, carrier: Carrier) -> None:
        """Connects again whenever the connection is gone, until that takes too long."""
        try:
            while True:
                await self._gone.wait()
                self.detach(carrier)
                await carrier.close()
                carrier = await self._connect_again()
        except TransportError as error:
            self.end(error)
        except Exception as error:  # a fault of ours, or of the stack: it must not leave anybody waiting
            fault = TransportError(f"{self._url}: {error!r}", "this is a fault of cutlayer: please report it")
            fault.__cause__ = error
            self.end(fault)

    async def _connect_again(self) -> Carrier:
        last: TransportError | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._reconnect_seconds):
                while True:
                    try:
                        return await self._connect()
                    except TransportError as error:
                        last = error
                    await asyncio.sleep(RETRY_SECONDS)
        raise TransportError(
            f"{self._url}: the connection was lost and did not come back for {self._reconnect_seconds:g} s",
            "check the board's power and that it is near, then connect again",
        ) from last
