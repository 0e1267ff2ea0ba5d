"""The Nordic UART Service: a byte pipe as two characteristics, and the URLs of boards that have it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cutlayer_host.errors import TransportError

SERVICE = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
RX = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
"""What the host writes, without response."""
TX = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
"""What the board notifies."""

DEFAULT_MTU = 23
MTU = 247
"""Asked for: with it the longest value fills one packet of 251 bytes on the air."""
VALUE_HEADER_BYTES = 3
VALUE_BYTES_MAX = 244

# A Bluetooth address; macOS names peripherals by a UUID of its own instead.
_ADDRESS = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)


def notification_bytes(mtu: int) -> int:
    """The bytes of a board's longest notification."""
    return min(mtu - VALUE_HEADER_BYTES, VALUE_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class BlePeripheral:
    """A board that advertises the service; `title` is the name that it gives itself."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class BleTarget:
    """What a ble:// URL names.

    Attributes:
        url: as it was written.
        address: in lower case, or None where the board is named by its name.
        name: as the board advertises it, or None.
        hci: a Bluetooth controller as bumble names it, or None for the computer's own Bluetooth.
    """

    url: str
    address: str | None
    name: str | None
    hci: str | None = None

    @classmethod
    def parse(cls, url: str) -> BleTarget:
        """Reads ble://ADDRESS or ble://NAME, with ?hci=CONTROLLER where bumble is to drive a controller.

        Raises:
            TransportError: the URL is neither.
        """
        parts = urlsplit(url)
        named = unquote(parts.netloc)
        query = parse_qs(parts.query)
        hci = query.pop("hci", [None])[-1]
        if not named or parts.path not in ("", "/") or query:
            raise TransportError(
                f"{url}: not a Bluetooth board's URL",
                "write ble://ADDRESS or ble://NAME as `cutlayer devices` lists them",
            )
        if _ADDRESS.fullmatch(named):
            return cls(url, named.lower(), None, hci)
        return cls(url, None, named, hci)

    def matches(self, address: str, name: str | None) -> bool:
        """Whether a board that advertises is the one."""
        return name == self.name if self.address is None else address.lower() == self.address


def board_url(address: str) -> str:
    """The URL of a board that a scan has found."""
    return f"ble://{quote(address, safe=':')}"
