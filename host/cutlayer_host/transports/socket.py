"""Transports over TCP and Unix sockets: emulated boards, serial servers, boards with a network."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cutlayer_host.errors import TransportError
from cutlayer_host.transports.stream import STREAM_LIMIT_BYTES, StreamTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cutlayer_host.transports.base import Transport


async def open_tcp(url: str) -> StreamTransport:
    """Connects to tcp://HOST:PORT.

    Raises:
        TransportError: the URL has no host or port, or nobody listens there.
    """
    host, port = tcp_address(url)
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=STREAM_LIMIT_BYTES)
    except OSError as error:
        raise TransportError(f"{url}: cannot connect: {error}", _NOBODY_HINT) from error
    return StreamTransport(url, reader, writer)


async def open_unix(url: str) -> StreamTransport:
    """Connects to unix:///PATH.

    Raises:
        TransportError: the URL has no path, or nobody listens there.
    """
    path = urlsplit(url).path
    if not path:
        raise TransportError(f"{url}: no path to a socket in it", "write unix:///absolute/path")
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=STREAM_LIMIT_BYTES)
    except OSError as error:
        raise TransportError(f"{url}: cannot connect: {error}", _NOBODY_HINT) from error
    return StreamTransport(url, reader, writer)


@asynccontextmanager
async def listen_tcp(
    url: str, on_connection: Callable[[Transport], Awaitable[None]]
) -> AsyncIterator[tuple[str, int]]:
    """Accepts boards that dial in to tcp://HOST:PORT while the context lasts; yields the bound address.

    `on_connection` runs as a task for each board and owns its transport. Port 0 takes a free one.

    Raises:
        TransportError: the URL has no host or port, or the address cannot be bound.
    """

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        await on_connection(StreamTransport(f"tcp://{peer[0]}:{peer[1]}", reader, writer))

    host, port = tcp_address(url)
    try:
        server = await asyncio.start_server(accept, host, port, limit=STREAM_LIMIT_BYTES)
    except OSError as error:
        raise TransportError(f"{url}: cannot listen: {error}", "choose another address or port") from error
    # Leaving the context must not wait for the boards that are still there: their tasks end them.
    try:
        bound = server.sockets[0].getsockname()
        yield bound[0], bound[1]
    finally:
        server.close()


def tcp_address(url: str) -> tuple[str, int]:
    """Splits tcp://HOST:PORT.

    Raises:
        TransportError: the host or the port is missing.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.hostname is None or port is None:
        raise TransportError(f"{url}: no host and port in it", "write tcp://HOST:PORT")
    return parts.hostname, port


_NOBODY_HINT = "boot the board first, e.g. cutlayer emulate --board native"
