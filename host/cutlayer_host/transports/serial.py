"""Serial ports: a board on USB or on a UART adapter."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from cutlayer_boards.usb import DIALOUT
from cutlayer_host.errors import TransportError
from cutlayer_host.transports.stream import StreamTransport

DEFAULT_BAUD = 921_600


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port of this computer.

    Attributes:
        url: As `open_serial` takes it.
        title: What its USB device says of itself.
        boards: Names of the boards that show its USB ids.
        is_ours: False where this user may not open it.
    """

    url: str
    title: str
    boards: tuple[str, ...] = ()
    is_ours: bool = True


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
            f"see the ports with `cutlayer devices`; on Linux you must be in the group dialout: {DIALOUT}",
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
    from cutlayer_boards import usb

    return [
        SerialPort(
            url=f"serial://{port.path}",
            title=port.title,
            boards=tuple(spec.name for spec in usb.boards_with(port.hwid)),
            is_ours=port.is_ours,
        )
        for port in usb.serial_ports()
    ]
