"""The storage of an emulated board, from outside: its key (SPEC.md, section 4).

What a board has learned is its own; only the key is put there for it, as a factory would.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cutlayer_boards.errors import BoardError
from cutlayer_boards.keys import DEVICE_ID_BYTES, KEY_BYTES, DeviceKey

if TYPE_CHECKING:
    from pathlib import Path

_SLOT_BYTES = 128  # the file needs no erase, so its blocks are 8 bytes
_HEADER = struct.Struct("<4sIIIII")
_KIND = b"CLK1"
_ERASED = b"\xff"


@dataclass(frozen=True, slots=True)
class _Record:
    sequence: int
    body: bytes

    @classmethod
    def in_slot(cls, slot: bytes) -> Self | None:
        """The good record of a slot, or None. To a board, what its file does not have is erased."""
        slot = slot.ljust(_SLOT_BYTES, _ERASED)
        header = slot[: _HEADER.size]
        kind, sequence, body_bytes, body_crc, _, header_crc = _HEADER.unpack(header)
        body = slot[_HEADER.size : _HEADER.size + body_bytes]
        is_good = kind == _KIND and header_crc == zlib.crc32(header[:-4]) and body_crc == zlib.crc32(body)
        return cls(sequence, body) if is_good and len(body) == body_bytes else None

    def slot(self) -> bytes:
        """The bytes of a slot, padded."""
        header = _HEADER.pack(_KIND, self.sequence, len(self.body), zlib.crc32(self.body), 0, 0)[:-4]
        return (header + struct.pack("<I", zlib.crc32(header)) + self.body).ljust(_SLOT_BYTES, _ERASED)


def write_key(path: Path, key: DeviceKey) -> None:
    """Gives the board of a storage file its name and key, as PROVISION would; the board must not be running.

    The file is made when it is not there, for its owner's eyes alone.

    Raises:
        BoardError: The file cannot be written.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            newest, records = _newest(os.pread(file, 2 * _SLOT_BYTES, 0))
            record = _Record((records + 1) % 2**32, key.device_id + key.secret)
            os.pwrite(file, record.slot(), _SLOT_BYTES * (newest == 0))
        finally:
            os.close(file)
    except OSError as error:
        raise BoardError(f"the storage {path} cannot be written: {error.strerror}") from error


def read_key(path: Path) -> DeviceKey | None:
    """The name and key of the board of a storage file; None without them.

    Raises:
        BoardError: The file cannot be read.
    """
    try:
        data = path.read_bytes()[: 2 * _SLOT_BYTES]
    except OSError as error:
        raise BoardError(f"the storage {path} cannot be read: {error.strerror}") from error
    slot, _ = _newest(data)
    record = None if slot is None else _Record.in_slot(data[slot * _SLOT_BYTES :][:_SLOT_BYTES])
    if (
        record is None
        or len(record.body) != DEVICE_ID_BYTES + KEY_BYTES
        or not any(record.body[:DEVICE_ID_BYTES])
    ):
        return None
    return DeviceKey(record.body[:DEVICE_ID_BYTES], record.body[DEVICE_ID_BYTES:])


def _newest(data: bytes) -> tuple[int | None, int]:
    """The slot of the newest good record, and its sequence."""
    first, second = (_Record.in_slot(data[at : at + _SLOT_BYTES]) for at in (0, _SLOT_BYTES))
    if first and second:
        slot = int((second.sequence - first.sequence - 1) % 2**32 < 2**31 - 1)
        return slot, (first, second)[slot].sequence
    if first or second:
        return (0, first.sequence) if first else (1, second.sequence if second else 0)
    return None, 0
