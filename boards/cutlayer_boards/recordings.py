"""Recordings in a board's own memory: what a board without microphone and without emulator hears."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cutlayer_boards.errors import BoardError

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_boards.spec import BoardSpec

# Bytes of the recordings, bytes of the labels.
_EEPROM_HEADER = struct.Struct("<HH")  # firmware/port/arduino/recordings_eeprom.cpp
_FLASH_HEADER = struct.Struct("<II")  # firmware/port/cortex_m/flashed.c


def eeprom_image(microphone: Path, board: BoardSpec) -> bytes:
    """The image of the board's EEPROM with the recordings of `microphone` and their labels.

    Raises:
        BoardError: They do not fit.
    """
    return _image(microphone, _EEPROM_HEADER, board.eeprom_bytes, f"the EEPROM of {board.name}")


def flash_image(microphone: Path, board: BoardSpec) -> bytes:
    """What to flash at `board.recordings_origin`: the recordings of `microphone` and their labels.

    Raises:
        BoardError: They do not fit.
    """
    return _image(microphone, _FLASH_HEADER, board.recordings_bytes, f"the flash for them of {board.name}")


def _image(microphone: Path, header: struct.Struct, capacity_bytes: int, place: str) -> bytes:
    recordings = microphone.read_bytes()
    labels_file = microphone.with_name(microphone.name + ".labels")
    labels = labels_file.read_bytes() if labels_file.is_file() else b""
    needed_bytes = header.size + len(recordings) + len(labels)
    if needed_bytes > capacity_bytes:
        raise BoardError(
            f"the recordings of {microphone} and their labels take {needed_bytes} bytes, "
            f"and {place} has {capacity_bytes}",
            "give it fewer recordings",
        )
    return header.pack(len(recordings), len(labels)) + recordings + labels
