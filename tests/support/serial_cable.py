"""A serial cable that is a pseudo-terminal: the board behind it is understood at its own baud rate only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cutlayer_host.transports import open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cutlayer_host.transports import Transport

GARBLED = bytes((value * 37 + 11) % 256 for value in range(256))


class Cable:
    """Carries bytes between a pseudo-terminal and a board, and notes the rates that hosts set."""

    def __init__(self, board: Transport, baud: int) -> None:
        self.board = board
        self.speed = getattr(termios, f"B{baud}")
        self.speeds_seen: list[int] = []
        self.end, self._port = os.openpty()  # the port stays open, so that a host may come again
        tty.setraw(self._port)
        os.set_blocking(self.end, False)
        self.path = os.ttyname(self._port)
        self.url = f"serial://{self.path}"

    async def carry(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._up())
            group.create_task(self._down())

    def close(self) -> None:
        os.close(self.end)
        os.close(self._port)

    def _as_heard(self, data: bytes) -> bytes:
        speed = termios.tcgetattr(self._port)[5]
        if self.speeds_seen[-1:] != [speed]:
            self.speeds_seen.append(speed)
        return data if speed == self.speed else data.translate(GARBLED)

    async def _up(self) -> None:
        while data := await self.board.read(4096):
            with contextlib.suppress(BlockingIOError):
                os.write(self.end, self._as_heard(data))

    async def _down(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            readable = loop.create_future()
            loop.add_reader(self.end, lambda waiting=readable: waiting.done() or waiting.set_result(None))
            try:
                await readable
            finally:
                loop.remove_reader(self.end)
            await self.board.write(self._as_heard(os.read(self.end, 4096)))


@contextlib.asynccontextmanager
async def serial_cable(board_url: str, baud: int) -> AsyncIterator[Cable]:
    """Puts the board at `board_url` behind a serial port of `baud`."""
    board = await open_transport(board_url)
    cable = Cable(board, baud)
    carrying = asyncio.create_task(cable.carry())
    try:
        yield cable
    finally:
        carrying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await carrying
        cable.close()
        await board.close()


def usb_port(path: str, hwid: tuple[int, int] | None) -> Any:
    """The port as serialx lists it."""
    vendor, product = hwid or (None, None)
    return SimpleNamespace(device=path, vid=vendor, pid=product, manufacturer=None, product="Some adapter")
