"""The link of the firmware's C core without a line: frames in, frames out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

from core import SOURCE, core_library

from cutlayer_host.wire import WIRE_VERSION, FrameDecoder, encode_frame

HEADER = struct.Struct("<BxHHHHH")
PARAMETERS = struct.Struct("<BxHHH")
SYN, SYN_ACK, DATA, ACK, RESET, PING = range(1, 7)
OPENED, LOST, REFUSED = 1, 2, 4
ERROR_ARGUMENT, ERROR_MEMORY, ERROR_CLOSED = -1, -2, -12
WINDOW_BYTES, WINDOW_FRAMES, MAX_PAYLOAD = 1000, 4, 128
NEVER_MS = 2**32 - 1


@cache
def library() -> tuple[Any, Any]:
    sources = [SOURCE / f"{name}.c" for name in ("frame", "window", "link", "link_transmit")]
    return core_library(sources, ["cutlayer/link.h"])


@dataclass(frozen=True)
class Frame:
    kind: int
    connection: int = 9
    seq: int = 0
    ack: int = 0
    sack: int = 0
    credit: int = 10_000
    payload: bytes = b""

    def encode(self) -> bytes:
        fields = (self.kind, self.connection, self.seq, self.ack, self.sack, self.credit)
        return encode_frame(HEADER.pack(*fields) + self.payload)

    @classmethod
    def decode(cls, body: bytes) -> Frame:
        return cls(*HEADER.unpack_from(body), body[HEADER.size :])


def parameters(
    version: int = WIRE_VERSION, payload: int = 512, window_bytes: int = 9000, frames: int = 17
) -> bytes:
    return PARAMETERS.pack(version, payload, window_bytes, frames)


class Link:
    """A link whose messages are the bytes of their token, repeated."""

    def __init__(self, *, host: bool = False, max_payload: int = MAX_PAYLOAD, **fields: Any) -> None:
        self.ffi, self.lib = library()
        self.now_ms = 2**32 - 700
        self.encoded: list[int] = []
        self.broken_token = -1
        self._encode = self.ffi.callback(
            "int32_t(void *, const struct cl_link_token *, uint8_t *, uint32_t)", self.encode
        )
        size = 8 * (max_payload + 40)
        self._memory = self.ffi.new("uint32_t[]", size // 4)
        config = {"role": int(host), "max_payload": max_payload, "window_frames": WINDOW_FRAMES}
        config |= {"window_bytes": WINDOW_BYTES, "encode": self._encode, "memory": self._memory}
        self.config = self.ffi.new("struct cl_link_config *", config | {"memory_bytes": size} | fields)
        self.link = self.ffi.new("struct cl_link *")
        self.init_result = self.lib.cl_link_init(self.link, self.config)
        self._decoder = FrameDecoder()

    def encode(self, _: Any, token: Any, payload: Any, capacity: int) -> int:
        self.encoded.append(token.first)
        if token.first == self.broken_token:
            return -1
        assert capacity >= token.count
        self.ffi.buffer(payload, token.count)[:] = bytes([token.first]) * token.count
        return int(token.count)

    def take(self, *frames: Frame | bytes) -> None:
        data = b"".join(frame if isinstance(frame, bytes) else frame.encode() for frame in frames)
        self.lib.cl_link_receive(self.link, data, len(data), self.now_ms % 2**32)

    def give(self, part: int = 1 << 20) -> list[Frame]:
        data, pointer = b"", self.ffi.new("const uint8_t **")
        while count := self.lib.cl_link_transmit(self.link, self.now_ms % 2**32, pointer):
            count = min(count, part)
            data += bytes(self.ffi.buffer(pointer[0], count))
            self.lib.cl_link_written(self.link, count, self.now_ms % 2**32)
        return [Frame.decode(body) for body in self._decoder.receive(data)]

    def exchange(self, *frames: Frame | bytes) -> list[Frame]:
        self.take(*frames)
        return self.give()

    def send(self, token: int, count: int = 10, payload_max: int = 100) -> int:
        named = self.ffi.new("struct cl_link_token *", {"first": token, "count": count})
        return int(self.lib.cl_link_send(self.link, named, payload_max))

    def messages(self) -> list[bytes]:
        got, pointer = [], self.ffi.new("const uint8_t **")
        while count := self.lib.cl_link_message(self.link, pointer):
            got.append(bytes(self.ffi.buffer(pointer[0], count)))
            self.lib.cl_link_release(self.link)
        return got

    @property
    def events(self) -> int:
        return int(self.lib.cl_link_events(self.link))

    @property
    def timeout_ms(self) -> int:
        return int(self.lib.cl_link_timeout_ms(self.link, self.now_ms % 2**32))


def connected(**options: Any) -> Link:
    """A board that host 9 has connected to."""
    link = Link(**options)
    (answer,) = link.exchange(Frame(SYN, payload=parameters()))
    assert answer == Frame(
        SYN_ACK, credit=WINDOW_BYTES, payload=parameters(payload=128, window_bytes=WINDOW_BYTES, frames=4)
    )
    assert link.events == OPENED
    return link


def data(seq: int, payload: bytes = b"abc", **fields: Any) -> Frame:
    return Frame(DATA, seq=seq, payload=payload, **fields)
