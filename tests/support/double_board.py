"""A board double with patterns that can be learned, and devices that reach it in memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_host.device import Device
from cutlayer_host.double import BoardDouble
from cutlayer_host.transports import memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cutlayer_host.transports import Transport

CLASSES = 4
RECORDINGS = 16


def double_board(count: int = 64, **options: Any) -> BoardDouble:
    random = np.random.default_rng(6)
    labels = [index % CLASSES for index in range(RECORDINGS)]
    prototypes = random.normal(0.5, 1, (CLASSES, count))
    recordings = prototypes[labels] + random.normal(0, 0.3, (RECORDINGS, count))
    return BoardDouble(recordings.astype(np.float32), options.pop("labels", labels), **options)


class Reach:
    """Opens devices to a double, each over a pipe of its own, and closes all at the end."""

    def __init__(self, board: BoardDouble) -> None:
        self.board = board
        self.opened = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Reach:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def device(
        self, wrap: Callable[[Transport], Transport] = lambda transport: transport, **options: Any
    ) -> Device:
        self.opened += 1
        host, board_end = memory_pair()
        pump = self.board.serve(board_end)
        pump.start()
        self._stack.push_async_callback(pump.close)
        device = await Device.open(wrap(host), **{"key": None} | options)
        self._stack.push_async_callback(device.close)
        return device


@contextlib.asynccontextmanager
async def reached(board: BoardDouble, **options: Any) -> AsyncIterator[Device]:
    async with Reach(board) as reach:
        yield await reach.device(**options)
