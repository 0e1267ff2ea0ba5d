"""Serial ports: a board on USB or on a UART adapter."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from cutlayer_host.errors import TransportError
from cutlayer_host.transports.stream import StreamTransport

DEFAULT_BAUD = 921_600


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port of this computer; `title` is what its USB device says of itself."""

    url: str
    title: str


async def open_serial(url: str) -> StreamTransport:
    """Opens serial:///dev/NAME?baud=N or serial://COM3?baud=N, for this process alone.

    Raises:
        TransportError: the URL is not of that form, or the port is missing, taken or not ours to open.
    """
    import serialx

    path, baud = serial_address(url)
    try:
        reader, writer = await serialx.open_serial_connection(path, baudrate=baud)
    except (OSError, ValueError, serialx.SerialException) as error:
        raise TransportError(
            f"{url}: cannot open the serial port: {error}",
            "see the ports with `cutlayer devices`; on Linux your user must be in the group dialout",
        ) from error
    return StreamTransport(url, reader, writer)


def serial_address(url: str) -> tuple[str, int]:
    """Splits serial:///dev/NAME?baud=N into the port's path and the baud rate.

    Raises:
        TransportError: there is no port, or the baud rate is no positive number.
    """
    parts = urlsplit(url)
    path = parts.netloc + parts.path
    query = parse_qs(parts.query)
    text = query.pop("baud", [str(DEFAULT_BAUD)])[-1]
    if not path or query or not text.isascii() or not text.isdigit() or int(text) == 0:
        raise TransportError(f"{url}: not a serial port's URL", "write serial:///dev/ttyACM0?baud=921600")
    return path, int(text)


def serial_ports() -> list[SerialPort]:
    """Lists the serial ports of this computer, by name."""
    import serialx

    ports = sorted(serialx.list_serial_ports(), key=lambda port: port.device)
    return [
        SerialPort(
            f"serial://{port.device}",
            " ".join(part for part in (port.manufacturer, port.product) if part),
        )
        for port in ports
    ]
