"""Boards by their USB ids: which serial port is which board, and whether it may be opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec

DIALOUT = "sudo usermod -aG dialout $USER, then log in again"


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port of this computer.

    Attributes:
        path: /dev/ttyACM0 or COM3.
        title: What its USB device says of itself.
        hwid: USB vendor and product id; None for a port that is not on USB.
    """

    path: str
    title: str
    hwid: tuple[int, int] | None

    @property
    def is_ours(self) -> bool:
        """False where this user may not open it; True where it is not known."""
        return not Path(self.path).exists() or os.access(self.path, os.R_OK | os.W_OK)


def serial_ports() -> list[Port]:
    """The serial ports of this computer, by name."""
    import serialx

    return [
        Port(
            path=port.device,
            title=" ".join(part for part in (port.manufacturer, port.product) if part),
            hwid=None if port.vid is None or port.pid is None else (port.vid, port.pid),
        )
        for port in sorted(serialx.list_serial_ports(), key=lambda port: port.device)
    ]


def bauds_of(path: str) -> tuple[int, ...]:
    """The baud rates to try at a port: of the boards with its USB ids, or else of every board."""
    from cutlayer_boards.spec import boards

    hwid = next((port.hwid for port in serial_ports() if port.path == path), None)
    return tuple(sorted({spec.baud for spec in boards_with(hwid) or boards() if spec.baud is not None}))


def boards_with(hwid: tuple[int, int] | None) -> list[BoardSpec]:
    """The boards that show these USB ids (boards/*.json: build.hwids)."""
    from cutlayer_boards.spec import boards

    return [spec for spec in boards() if hwid in spec.hwids]
