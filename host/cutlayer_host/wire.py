"""Frames: bytes to bodies and back (SPEC.md, section 1). COBS, CRC-32, a zero byte at the end."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from cobs import cobs

WIRE_VERSION = 2
HEADER_BYTES = 12
CRC_BYTES = 4
SEAL_BYTES = 20
MIN_PAYLOAD_BYTES = 128
MAX_PAYLOAD_BYTES = 4096

_CRC = struct.Struct("<I")


def encode_frame(body: bytes) -> bytes:
    """The frame of a body, with the zero byte."""
    encoded: bytes = cobs.encode(body + _CRC.pack(zlib.crc32(body)))
    return encoded + b"\0"


def frame_bytes_max(payload_bytes: int) -> int:
    """The longest frame that a payload of this length may need, zero byte included."""
    raw = HEADER_BYTES + payload_bytes + CRC_BYTES
    return raw + (raw + 253) // 254 + 1


@dataclass(slots=True)
class FrameCounters:
    """What a decoder has seen. Empty frames count nowhere, their bytes do."""

    bytes: int = 0
    frames: int = 0
    malformed: int = 0


class FrameDecoder:
    """Takes bytes as they come and gives the bodies of whole, valid frames.

    Memory is bounded: what is longer than a frame may be is thrown away up to the next zero byte.
    """

    def __init__(self, max_payload: int = MAX_PAYLOAD_BYTES) -> None:
        self.counters = FrameCounters()
        self._max_body = HEADER_BYTES + max_payload
        self._max_encoded = frame_bytes_max(max_payload) - 1
        self._partial = b""
        self._overlong = False

    def receive(self, data: bytes) -> list[bytes]:
        """The bodies that `data` completes; what is malformed is counted and dropped."""
        self.counters.bytes += len(data)
        *complete, rest = data.split(b"\0")
        bodies: list[bytes] = []
        if complete:
            first, self._partial = self._partial + complete[0], b""
            if self._overlong:
                self._overlong = False
                self.counters.malformed += 1
            elif first:
                self._decode(first, bodies)
            for encoded in complete[1:]:
                if encoded:
                    self._decode(encoded, bodies)
        self._partial += rest
        if len(self._partial) > self._max_encoded:
            self._overlong = True
        if self._overlong:
            self._partial = b""
        return bodies

    def _decode(self, encoded: bytes, bodies: list[bytes]) -> None:
        if len(encoded) <= self._max_encoded:
            try:
                raw = cobs.decode(encoded)
            except cobs.DecodeError:
                raw = b""
            body = raw[:-CRC_BYTES]
            if HEADER_BYTES <= len(body) <= self._max_body and raw[-CRC_BYTES:] == _CRC.pack(
                zlib.crc32(body)
            ):
                self.counters.frames += 1
                bodies.append(body)
                return
        self.counters.malformed += 1
