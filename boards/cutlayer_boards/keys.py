"""The keys of devices, and the file that this computer keeps them in.

The file is JSON, for its owner's eyes alone, and every change of it is whole or not at all. No key is in a
message, a log or a repr.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cutlayer_boards.errors import CutlayerError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE_ID_BYTES = 8
KEY_BYTES = 32

_VERSION = 1
_OTHERS = 0o077


class KeyFileError(CutlayerError):
    """The file of keys cannot be used, or has no such device."""


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's name on the wire, and its key."""

    device_id: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.device_id) != DEVICE_ID_BYTES or len(self.secret) != KEY_BYTES:
            raise ValueError(f"a device's id has {DEVICE_ID_BYTES} bytes and its key {KEY_BYTES}")

    @classmethod
    def fresh(cls) -> Self:
        """A new name and a new key; no name is 0, which means none."""
        return cls(secrets.token_bytes(DEVICE_ID_BYTES - 1) + b"\x01", secrets.token_bytes(KEY_BYTES))

    def find(self, device_id: bytes) -> bytes | None:
        """The key, of this device alone; what a connection is sealed with (cutlayer_host.guard.KeyFinder)."""
        return self.secret if device_id == self.device_id else None


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str | None
    secret: bytes = field(repr=False)


class Keys:
    """The keys in a file, which is read anew each time: what is provisioned meanwhile is known at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def default(cls) -> Self:
        """Those in $CUTLAYER_KEYS, or ~/.config/cutlayer/keys.json."""
        named = os.environ.get("CUTLAYER_KEYS")
        return cls(Path(named) if named else Path.home() / ".config" / "cutlayer" / "keys.json")

    def find(self, device_id: bytes) -> bytes | None:
        """The key of a device, None when it is not here.

        Raises:
            KeyFileError: the file cannot be read, is damaged, or others may read it.
        """
        entry = self._read().get(device_id)
        return entry.secret if entry else None

    def names(self) -> dict[bytes, str | None]:
        """The devices whose keys are here, with what a person calls them. Raises KeyFileError."""
        return {device_id: entry.name for device_id, entry in self._read().items()}

    def named(self, name: str) -> bytes:
        """The id of the device that a person calls so, or whose id is this in hex.

        Raises:
            KeyFileError: there is none, or more than one.
        """
        found = [device_id for device_id, given in self.names().items() if name in (given, device_id.hex())]
        if len(found) != 1:
            known = ", ".join(given or device_id.hex() for device_id, given in self.names().items()) or "none"
            raise KeyFileError(
                f"{self.path}: {'no' if not found else 'more than one'} device is called {name}",
                f"devices there: {known}" if not found else f"name it by its id: {found[0].hex()}",
            )
        return found[0]

    def add(self, key: DeviceKey, name: str | None = None) -> None:
        """Keeps a device's key. Raises KeyFileError."""
        with self._changing() as entries:
            entries[key.device_id] = _Entry(name, key.secret)

    def remove(self, device_id: bytes) -> None:
        """Drops a device's key, if it is here. Raises KeyFileError."""
        with self._changing() as entries:
            entries.pop(device_id, None)

    def _read(self) -> dict[bytes, _Entry]:
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise KeyFileError(f"the keys in {self.path} cannot be read: {error.strerror}") from error
        if mode & _OTHERS:
            raise KeyFileError(
                f"others may read the keys in {self.path} (mode {mode & 0o777:04o})",
                f"chmod 600 {self.path}; and provision the boards again, if somebody has read them",
            )
        try:
            return _decoded(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # Without the cause: it may show what the file holds.
            raise KeyFileError(
                f"{self.path} is damaged",
                "take it from a backup, or delete it and provision the boards again",
            ) from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[bytes, _Entry]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.with_name(f"{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                entries = self._read()
                yield entries
                self._write(json.dumps(_encoded(entries), indent=2).encode() + b"\n")
        except OSError as error:
            raise KeyFileError(
                f"the keys in {self.path} cannot be written: {error.strerror}",
                "make room there, or name another file in CUTLAYER_KEYS",
            ) from error

    def _write(self, data: bytes) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        partial.unlink(missing_ok=True)
        try:
            file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(file)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _encoded(entries: dict[bytes, _Entry]) -> dict[str, Any]:
    devices = {
        device_id.hex(): {"name": entry.name, "key": entry.secret.hex()}
        for device_id, entry in entries.items()
    }
    return {"version": _VERSION, "devices": devices}


def _decoded(value: dict[str, Any]) -> dict[bytes, _Entry]:
    if value["version"] != _VERSION:
        raise ValueError("another version")
    entries: dict[bytes, _Entry] = {}
    for text, kept in value["devices"].items():
        key = DeviceKey(bytes.fromhex(text), bytes.fromhex(kept["key"]))
        if kept["name"] is not None and not isinstance(kept["name"], str):
            raise TypeError("a name is text")
        entries[key.device_id] = _Entry(kept["name"], key.secret)
    return entries
