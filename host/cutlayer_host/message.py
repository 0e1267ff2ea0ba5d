"""A message of the session: a frozen dataclass, to and from bytes (SPEC.md, section 3.1).

Fields stand in the order of the wire. Making and decoding a message check everything that needs no state:
kind, length, ranges, finite floats. What is refused is named in a ProtocolError, with the code and the kind
that an ERROR message wants.

Here are what every message is, and the two kinds that both sides send.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from cutlayer_host.codes import ErrorCode, Kind
from cutlayer_host.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

_F32_LEAST = 2.0**-149  # what is smaller becomes 0 on the wire


class Message:
    """A message of fixed length whose fields LAYOUT packs after the kind."""

    __slots__ = ()
    KIND: ClassVar[Kind]
    LAYOUT: ClassVar[struct.Struct]

    def encode(self) -> bytes:
        """To bytes. Raises ProtocolError(VALUE) for a field outside its range."""
        try:
            return self.LAYOUT.pack(self.KIND, *self._pack())
        except (struct.error, OverflowError) as error:
            raise ProtocolError(f"{self}: {error}", code=ErrorCode.VALUE, about=self.KIND) from error

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """From bytes. Raises ProtocolError(LENGTH or VALUE)."""
        if len(payload) != cls.LAYOUT.size:
            raise wrong_length(cls.KIND, len(payload), f"exactly {cls.LAYOUT.size}")
        return cls._unpack(cls.LAYOUT.unpack(payload)[1:])

    def _pack(self) -> Iterable[Any]:
        return [getattr(self, name) for name in field_names(type(self))]

    @classmethod
    def _unpack(cls, values: tuple[Any, ...]) -> Self:
        return cls(**dict(zip(field_names(cls), values, strict=True)))

    def _require(self, name: str, allowed: str, holds: bool) -> None:
        if not holds:
            raise ProtocolError(
                f"{self.KIND.name}.{name} is {getattr(self, name)!r}, must be {allowed}",
                code=ErrorCode.VALUE,
                about=self.KIND,
            )

    def _require_bytes(self, name: str, count: int) -> None:
        """The value is not told: it may be a key."""
        if len(getattr(self, name)) != count:
            raise ProtocolError(
                f"{self.KIND.name}.{name} has {len(getattr(self, name))} bytes, must have {count}",
                code=ErrorCode.VALUE,
                about=self.KIND,
            )

    def _require_positive(self, name: str) -> None:
        value = getattr(self, name)
        self._require(name, "finite and above 0", math.isfinite(value) and value >= _F32_LEAST)


class MessageWithData(Message):
    """A message with bytes after what LAYOUT says, as its last field, `data`."""

    __slots__ = ()
    data: bytes

    def encode(self) -> bytes:
        """See Message.encode."""
        try:
            return self.LAYOUT.pack(self.KIND, *self._pack()) + self.data
        except (struct.error, OverflowError) as error:
            raise ProtocolError(f"{self}: {error}", code=ErrorCode.VALUE, about=self.KIND) from error

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """See Message.decode."""
        if len(payload) < cls.LAYOUT.size:
            raise wrong_length(cls.KIND, len(payload), f"{cls.LAYOUT.size} or more")
        return cls._unpack((*cls.LAYOUT.unpack_from(payload)[1:], payload[cls.LAYOUT.size :]))

    def _pack(self) -> Iterable[Any]:
        return [getattr(self, name) for name in field_names(type(self))[:-1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece(MessageWithData):
    """PIECE: elements `first` to `first + count - 1` of a tensor; `data` as section 3.3 says."""

    count: int
    first: int
    data: bytes = field(repr=False)
    KIND: ClassVar = Kind.PIECE
    LAYOUT: ClassVar = struct.Struct("<BxHI")

    def __post_init__(self) -> None:
        self._require("count", "1 or more", self.count >= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(Message):
    """ERROR: a message was refused. Never answered."""

    about: int
    code: int
    detail: int = 0
    KIND: ClassVar = Kind.ERROR
    LAYOUT: ClassVar = struct.Struct("<BBhI")

    def __post_init__(self) -> None:
        self._require("code", "negative", self.code < 0)


def field_names(message: type[Any]) -> tuple[str, ...]:
    """The fields of a kind, in the order of the wire."""
    return tuple(item.name for item in fields(message))


def wrong_length(kind: Kind, length: int, allowed: str) -> ProtocolError:
    """Says how long a message of the kind must be."""
    return ProtocolError(
        f"{kind.name} has {length} bytes, must have {allowed}", code=ErrorCode.LENGTH, about=kind
    )
