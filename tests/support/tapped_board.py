"""A board behind a relay that keeps every byte of its link."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cobs import cobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

WINDOW = 16
DISTINCT = 8
"""Bytes of a window that differ, at least: silence is not sound."""


class Tap:
    """What passed, and where hosts reach the board."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.up, self.down = bytearray(), bytearray()

    def assert_never_carried(self, sounds: Iterable[bytes]) -> None:
        """No run of any sound, as s16, byte-swapped or as 8 bits, is in any frame."""
        heard: set[bytes] = set()
        total = 0
        for sound in sounds:
            total += len(sound)
            samples = np.frombuffer(sound, "<i2")
            for form in (sound, samples.byteswap().tobytes(), (samples >> 8).astype(np.int8).tobytes()):
                heard |= _windows(form)
        assert heard
        for raw in (bytes(self.up), bytes(self.down)):
            assert raw
            for part in [raw, *(cobs.decode(frame) for frame in raw.split(b"\0") if frame)]:
                assert not _windows(part) & heard
        assert len(self.up) < total / 4  # there is no room for it


def _windows(data: bytes) -> set[bytes]:
    found = (data[i : i + WINDOW] for i in range(len(data) - WINDOW + 1))
    return {window for window in found if len(set(window)) >= DISTINCT}


@contextlib.asynccontextmanager
async def tapped(url: str) -> AsyncIterator[Tap]:
    """Relays one host after another to the board at a Unix socket."""
    path = url.removeprefix("unix://")
    relays: set[asyncio.Task[None]] = set()
    with tempfile.TemporaryDirectory(prefix="cutlayer-tap-") as folder:
        tap = Tap(f"unix://{folder}/link")

        async def relay(host_reader: asyncio.StreamReader, host_writer: asyncio.StreamWriter) -> None:
            board_reader, board_writer = await asyncio.open_unix_connection(path)
            both = [
                asyncio.create_task(_copy(host_reader, board_writer, tap.down)),
                asyncio.create_task(_copy(board_reader, host_writer, tap.up)),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            for writer in (host_writer, board_writer):
                writer.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(relay(reader, writer))
            relays.add(task)
            task.add_done_callback(relays.discard)

        server = await asyncio.start_unix_server(accept, Path(folder) / "link")
        try:
            yield tap
        finally:
            server.close()
            await asyncio.gather(*relays, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    while data := await reader.read(4096):
        kept += data
        writer.write(data)
        await writer.drain()
