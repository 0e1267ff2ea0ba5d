"""The pump between a transport and a machine without I/O: it reads, writes and keeps the time.

One task reads; another writes, and turns the crank when time has passed. So a full pipe never keeps the other
side's bytes from being read.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from cutlayer_host.errors import LinkLost, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from cutlayer_host.transports import Transport

READ_BYTES = 1 << 14
"""At a time; then the others have their turn, even when a board sends without end."""

WRITE_BYTES = 1 << 13
"""Frames are made this many bytes at a time, so that acknowledgements and timers are fresh on a slow pipe."""

Event = TypeVar("Event", covariant=True)


class Machine(Protocol[Event]):
    """A link or a session: see cutlayer_host.link for the crank."""

    def receive(self, data: bytes, now_ms: float) -> Sequence[Event]:
        """Takes bytes, b"" when only time has passed."""
        ...

    def transmit(self, now_ms: float, max_bytes: int | None = None) -> bytes:
        """Gives bytes to write."""
        ...

    def next_timeout_ms(self, now_ms: float) -> float | None:
        """Gives the ms after which the crank must turn again."""
        ...


class Pump(Generic[Event]):
    """Runs a machine over a transport, which it owns."""

    def __init__(
        self,
        transport: Transport,
        machine: Machine[Event],
        *,
        on_events: Callable[[Sequence[Event]], None],
        on_end: Callable[[Exception], None],
    ) -> None:
        """Needs a running event loop only from `start` on.

        `on_events` gets what the machine says. `on_end` is told why the pump has stopped by itself: LinkLost
        when the pipe has closed or broken, else the exception that `on_events` or the machine raised.
        """
        self.transport = transport
        self._machine = machine
        self._on_events = on_events
        self._on_end = on_end
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts both tasks."""
        self._tasks = [asyncio.create_task(self._guard(work)) for work in (self._read(), self._crank())]

    def kick(self) -> None:
        """Says that the machine has something new to transmit; several at once make one write."""
        self._news.set()

    async def close(self) -> None:
        """Ends both tasks and closes the transport. Closing twice is no error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.transport.close()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TransportError as error:
            lost = LinkLost(str(error), error.hint or LOST_HINT)
            lost.__cause__ = error
            self._on_end(lost)
        except Exception as error:  # a fault of ours: it must not leave anybody waiting
            self._on_end(error)

    async def _read(self) -> None:
        while data := await self.transport.read(READ_BYTES):
            self._tell(self._machine.receive(data, now_ms()))
            self._news.set()
            if len(data) == READ_BYTES:
                await asyncio.sleep(0)
        self._on_end(LinkLost(f"{self.transport.url}: the other side closed the pipe", LOST_HINT))

    async def _crank(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            now = now_ms()
            self._tell(self._machine.receive(b"", now))
            if data := self._machine.transmit(now, WRITE_BYTES):
                await self.transport.write(data)
                self._news.set()
            timeout_ms = self._machine.next_timeout_ms(now)
            if timeout_ms is None:
                await self._news.wait()
            elif not self._news.is_set():
                timer = loop.call_later(timeout_ms / 1000.0, self._news.set)
                await self._news.wait()
                timer.cancel()

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            self._on_events(events)


def now_ms() -> float:
    """The clock of links: milliseconds since some start, never backwards."""
    return time.monotonic() * 1000.0


LOST_HINT = "check that the board still runs and is connected, then start again"
