"""The body of a frame: its header, and what SYN and SYN_ACK carry (SPEC.md, section 2)."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import NamedTuple

from cutlayer_host.guard import Security
from cutlayer_host.window import MAX_WINDOW_FRAMES
from cutlayer_host.wire import MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES, SEAL_BYTES, WIRE_VERSION, frame_bytes_max

_HEADER = struct.Struct("<BxHHHHH")


_PARAMETERS = struct.Struct("<BBHHH")


class FrameKind(enum.IntEnum):
    """The first byte of a body."""

    SYN = 1
    SYN_ACK = 2
    DATA = 3
    ACK = 4
    RESET = 5
    PING = 6


# The least payload of each kind; those of 0 take none, but a seal.
_PAYLOAD_BYTES: dict[int, int] = {
    FrameKind.SYN: _PARAMETERS.size,
    FrameKind.SYN_ACK: _PARAMETERS.size,
    FrameKind.DATA: 1,
    FrameKind.ACK: 0,
    FrameKind.RESET: 0,
    FrameKind.PING: 0,
}


class Header(NamedTuple):
    """The first 12 bytes of a body."""

    kind: int
    connection: int
    seq: int = 0
    ack: int = 0
    sack: int = 0
    credit: int = 0

    def encode(self) -> bytes:
        """To 12 bytes."""
        return _HEADER.pack(*self)

    @classmethod
    def decode(cls, body: bytes) -> Header:
        """From a body of 12 bytes or more."""
        return cls(*_HEADER.unpack_from(body))


@dataclass(frozen=True, slots=True)
class Parameters:
    """What an end of the link can take. Raises ValueError outside the limits of SPEC.md, section 2."""

    max_payload: int = MAX_PAYLOAD_BYTES
    window_bytes: int = 0xFFFF
    window_frames: int = MAX_WINDOW_FRAMES

    def __post_init__(self) -> None:
        if not MIN_PAYLOAD_BYTES <= self.max_payload <= MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"max_payload is {self.max_payload}, must be {MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}"
            )
        least = frame_bytes_max(self.max_payload)
        if not least <= self.window_bytes <= 0xFFFF:
            raise ValueError(f"window_bytes is {self.window_bytes}, must be {least} (a frame) to 65535")
        if not 1 <= self.window_frames <= MAX_WINDOW_FRAMES:
            raise ValueError(f"window_frames is {self.window_frames}, must be 1 to {MAX_WINDOW_FRAMES}")

    def encode(self, security: Security = Security.PLAIN) -> bytes:
        """The payload of SYN and SYN_ACK, or its first 8 bytes."""
        return _PARAMETERS.pack(
            WIRE_VERSION, security, self.max_payload, self.window_bytes, self.window_frames
        )

    @classmethod
    def decode(cls, payload: bytes) -> Parameters | None:
        """From 8 bytes or more of this wire version; None outside the limits."""
        _, security, max_payload, window_bytes, window_frames = _PARAMETERS.unpack_from(payload)
        try:
            parameters = cls(max_payload, window_bytes, window_frames)
            if security != Security.PLAIN:
                parameters.check_sealed()
        except ValueError:
            return None
        return parameters

    def check_sealed(self) -> None:
        """Raises ValueError when the window does not hold one longest frame with its seal."""
        least = frame_bytes_max(self.max_payload + SEAL_BYTES)
        if self.window_bytes < least:
            raise ValueError(f"window_bytes is {self.window_bytes}, must be {least} (a sealed frame)")


def fits(kind: int, payload: bytes) -> bool:
    """Whether the kind takes the payload. Of another wire version only the version is known to lie here."""
    least = _PAYLOAD_BYTES.get(kind)
    if least is None or len(payload) < least or (least == 0 and len(payload) not in (0, SEAL_BYTES)):
        return False
    if kind in (FrameKind.SYN, FrameKind.SYN_ACK) and payload[0] == WIRE_VERSION:
        return Parameters.decode(payload) is not None
    return True
