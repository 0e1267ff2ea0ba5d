from __future__ import annotations

import asyncio
import os
import tty
from typing import TYPE_CHECKING

import pytest

from cutlayer_host.errors import TransportError
from cutlayer_host.transports import listen_tcp, memory_pair, open_transport
from cutlayer_host.transports.bridge import bridge
from cutlayer_host.transports.serial import serial_address

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_host.transports import Transport


async def read_exactly(transport: Transport, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await transport.read(count - len(data))
        assert part
        data += part
    return data


async def test_memory_carries_bytes_both_ways_and_says_when_it_is_closed() -> None:
    host, board = memory_pair()
    await host.write(b"down")
    await board.write(b"up")
    assert await board.read(3) == b"dow"
    assert await host.read(9) == b"up"
    await host.close()
    assert await board.read(9) == b"n"
    assert await board.read(9) == b""
    with pytest.raises(TransportError, match="closed"):
        await board.write(b"late")
    await host.close()


async def test_memory_makes_a_writer_wait_for_room() -> None:
    host, board = memory_pair(capacity_bytes=4)
    await host.write(b"full")
    waiting = asyncio.create_task(host.write(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await board.read(9) == b"full"
    await waiting
    assert await board.read(9) == b"more"


async def test_memory_loses_nothing_when_a_read_is_cancelled() -> None:
    host, board = memory_pair()
    reading = asyncio.create_task(board.read(9))
    await asyncio.sleep(0)
    await host.write(b"kept")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await board.read(9) == b"kept"


async def test_a_bridge_carries_both_ways_and_ends_with_either_end() -> None:
    (one, near), (far, other) = memory_pair("one"), memory_pair("other")
    async with bridge(near, far):
        await one.write(bytes(10_000))
        await other.write(b"back")
        assert await read_exactly(other, 10_000) == bytes(10_000)
        assert await read_exactly(one, 4) == b"back"
        await other.close()
        assert await one.read(9) == b""
    with pytest.raises(TransportError, match="closed"):
        await one.write(b"late")


async def test_tcp_to_a_listener_and_back() -> None:
    arrived: asyncio.Queue[Transport] = asyncio.Queue()
    async with listen_tcp("tcp://127.0.0.1:0", arrived.put) as (host, port):
        dialled = await open_transport(f"tcp://{host}:{port}")
        accepted = await arrived.get()
        assert accepted.url.startswith("tcp://127.0.0.1:")
        await dialled.write(bytes(200_000))
        assert await read_exactly(accepted, 200_000) == bytes(200_000)
        await accepted.write(b"back")
        assert await read_exactly(dialled, 4) == b"back"
        await accepted.close()
        assert await dialled.read(9) == b""
        await dialled.close()


async def test_a_unix_socket(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(3))
        writer.close()

    async with await asyncio.start_unix_server(echo, tmp_path / "s"):
        transport = await open_transport(f"unix://{tmp_path}/s")
        await transport.write(b"abc")
        assert await read_exactly(transport, 3) == b"abc"
        await transport.close()


async def test_a_serial_port() -> None:
    """A pseudo-terminal is as much of a serial port as a test can have."""
    board, port = os.openpty()
    tty.setraw(port)
    try:
        transport = await open_transport(f"serial://{os.ttyname(port)}?baud=115200")
        await transport.write(b"\x00\xffdown")
        assert os.read(board, 9) == b"\x00\xffdown"
        os.write(board, b"\x00up\n")
        assert await read_exactly(transport, 4) == b"\x00up\n"
        await transport.close()
        await transport.close()
    finally:
        os.close(board)
        os.close(port)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("serial:///dev/ttyACM0", ("/dev/ttyACM0", None)),
        ("serial:///dev/ttyACM0?baud=9600", ("/dev/ttyACM0", 9600)),
        ("serial://COM3?baud=115200", ("COM3", 115_200)),
    ],
)
def test_serial_urls(url: str, address: tuple[str, int]) -> None:
    assert serial_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "ble://board",
        "nonsense",
        "",
        "tcp://localhost",
        "tcp://:7070",
        "tcp://localhost:70707",
        "unix://",
        "serial://",
        "serial:///dev/tty0?baud=fast",
        "serial:///dev/tty0?baud=0",
        "serial:///dev/tty0?speed=9600",
        "serial:///dev/no-such-port",
        "/dev/no-such-port",
        "unix:///no/such/socket",
        "tcp://127.0.0.1:1",
    ],
)
async def test_what_cannot_be_opened_is_named_with_a_way_out(url: str) -> None:
    with pytest.raises(TransportError) as caught:
        await open_transport(url)
    assert url in str(caught.value)
    assert caught.value.hint


async def test_an_address_that_is_taken() -> None:
    async def never(_: Transport) -> None:
        raise AssertionError

    async with listen_tcp("tcp://127.0.0.1:0", never) as (host, port):
        with pytest.raises(TransportError, match="cannot listen"):
            async with listen_tcp(f"tcp://{host}:{port}", never):
                pass
