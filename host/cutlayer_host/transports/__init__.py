"""Byte pipes to boards: serial ports, Bluetooth, sockets, and a pair in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cutlayer_host.errors import TransportError
from cutlayer_host.transports.base import Transport
from cutlayer_host.transports.ble import open_ble, scan_ble
from cutlayer_host.transports.memory import MemoryTransport, memory_pair
from cutlayer_host.transports.nordic_uart import BlePeripheral
from cutlayer_host.transports.serial import (
    SerialPort,
    at_baud,
    baud_of,
    open_serial,
    serial_ports,
    urls_to_try,
)
from cutlayer_host.transports.socket import listen_tcp, open_tcp, open_unix

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "BlePeripheral",
    "MemoryTransport",
    "SerialPort",
    "Transport",
    "at_baud",
    "baud_of",
    "listen_tcp",
    "memory_pair",
    "open_transport",
    "scan_ble",
    "serial_ports",
    "urls_to_try",
]

_OPENERS: dict[str, Callable[[str], Awaitable[Transport]]] = {
    "ble": open_ble,
    "serial": open_serial,
    "tcp": open_tcp,
    "unix": open_unix,
}


async def open_transport(url: str) -> Transport:
    """Opens serial:///dev/ttyACM0?baud=500000, ble://ADDRESS or ble://NAME, tcp://HOST:PORT or unix:///PATH.

    /dev/NAME is a serial port, too.

    Raises:
        TransportError: the URL is none of these, or what it names cannot be opened.
    """
    if url.startswith("/dev/"):
        url = f"serial://{url}"
    opener = _OPENERS.get(urlsplit(url).scheme)
    if opener is None:
        raise TransportError(
            f"{url}: no such kind of transport",
            "write serial:///dev/ttyACM0, ble://NAME, tcp://HOST:PORT or unix:///PATH",
        )
    return await opener(url)
