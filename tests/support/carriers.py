"""A Bluetooth stack that a test commands: it refuses values, shrinks them, and its connections break."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cutlayer_host.errors import TransportError
from cutlayer_host.transports.gatt import CarrierGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class FakeCarrier:
    """Does with each value what `plan` says: "take", "refuse", "break" the connection, "fail" in it."""

    def __init__(
        self, plan: Iterable[str] = (), sizes: Iterable[int] = (), gone: asyncio.Event | None = None
    ) -> None:
        self.values: list[bytes] = []
        self.refused = 0
        self.waits = 0
        self.closed = 0
        self.gone = gone or asyncio.Event()
        self._plan = iter(plan)
        self._sizes = iter(sizes)

    @property
    def value_bytes(self) -> int:
        return next(self._sizes, 20)

    async def send(self, value: bytes) -> bool:
        assert value
        if self.gone.is_set():
            raise CarrierGone
        what = next(self._plan, "take")
        if what in ("break", "fail"):
            if what == "break":
                self.gone.set()
            raise CarrierGone
        if what == "refuse":
            self.refused += 1
            return False
        self.values.append(value)
        return True

    async def ready(self) -> None:
        self.waits += 1
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.closed += 1
        self.gone.set()


class FakeConnector:
    """Gives the carriers of `plans` one after another; None is a board out of reach."""

    def __init__(self, *plans: Iterable[str] | None) -> None:
        self.carriers: list[FakeCarrier] = []
        self.made: asyncio.Queue[FakeCarrier] = asyncio.Queue()
        self.on_value: list[Callable[[bytes], None]] = []
        self.attempts = 0
        self.closed = 0
        self._plans = iter(plans)

    async def connect(self, on_value: Callable[[bytes], None], gone: asyncio.Event) -> FakeCarrier:
        self.attempts += 1
        plan = next(self._plans, None)
        if plan is None:
            raise TransportError("ble://fake: no such board advertises here", "wait")
        self.on_value.append(on_value)
        carrier = FakeCarrier(plan, gone=gone)
        self.carriers.append(carrier)
        self.made.put_nowait(carrier)
        return carrier

    async def close(self) -> None:
        self.closed += 1
