"""Serial ports: a board on USB or on a UART adapter."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from cutlayer_boards.usb import DIALOUT, bauds_of
from cutlayer_host.errors import TransportError
from cutlayer_host.transports.stream import StreamTransport


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

    Without a baud rate it is the first of `urls_to_try`.

    Raises:
        TransportError: the URL is not of that form, or the port is missing, taken or not ours to open.
    """
    import serialx

    path, baud = serial_address(url)
    baud = baud or bauds_of(path)[0]
    try:
        reader, writer = await serialx.open_serial_connection(path, baudrate=baud)
    except (OSError, ValueError, serialx.SerialException) as error:
        raise TransportError(f"{url}: cannot open the serial port: {error}", _remedy(path, error)) from error
    return StreamTransport(url, reader, writer)


def _remedy(path: str, error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EACCES:
        return DIALOUT
    if code == errno.EBUSY:
        return f"another program has it open; its process id: fuser {path}"
    return "see the ports with `cutlayer devices`"


def urls_to_try(url: str) -> tuple[str, ...]:
    """The URLs, each with its baud rate, at which the board at serial port `url` may answer.

    One where the rate is named by the URL or by the port's USB ids; else one for each rate that a board of
    ours has. The URL of anything but a serial port is the one to try.
    """
    if not _is_serial(url):
        return (url,)
    path, baud = serial_address(url)
    return tuple(at_baud(url, rate) for rate in ((baud,) if baud else bauds_of(path)))


def at_baud(url: str, baud: int) -> str:
    """The URL of the serial port `url` at another baud rate.

    Raises:
        TransportError: it is no serial port.
    """
    if not _is_serial(url):
        raise TransportError(f"{url} is no serial port: it has no baud rate", "leave out --baud")
    return f"serial://{serial_address(url)[0]}?baud={baud}"


def baud_of(url: str) -> int | None:
    """The baud rate that the URL names; None for what is no serial port."""
    return serial_address(url)[1] if _is_serial(url) else None


def _is_serial(url: str) -> bool:
    return url.startswith("/dev/") or urlsplit(url).scheme == "serial"


def serial_address(url: str) -> tuple[str, int | None]:
    """Splits serial:///dev/NAME?baud=N into the port's path and the baud rate, None where none is named.

    Raises:
        TransportError: there is no port, or the baud rate is no positive number.
    """
    parts = urlsplit(url)
    path = parts.netloc + parts.path
    query = parse_qs(parts.query)
    text = query.pop("baud", [None])[-1]
    if text is not None and not (text.isascii() and text.isdigit() and int(text)):
        raise TransportError(f"{url}: {text} is no baud rate", "write serial:///dev/ttyACM0?baud=500000")
    if not path or query:
        raise TransportError(f"{url}: not a serial port's URL", "write serial:///dev/ttyACM0?baud=500000")
    return path, None if text is None else int(text)


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
