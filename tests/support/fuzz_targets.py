"""Fuzz targets in Python: each takes any bytes, and raises when something breaks.

Where the firmware has the same decoder in C, both get the same bytes and must agree.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from choices import Choices
from core import SOURCE, core_library
from fuzz_session import session
from outcome import taken

from cutlayer_host import tensors
from cutlayer_host.body import FrameKind, Header, Parameters
from cutlayer_host.codes import ACTIVATION_CODECS, ErrorCode, Kind
from cutlayer_host.host_messages import Hello, Provision
from cutlayer_host.link import Link, LinkState, Received, Role
from cutlayer_host.message import Message, Piece
from cutlayer_host.messages import decode
from cutlayer_host.wire import HEADER_BYTES, WIRE_VERSION, FrameDecoder, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PAYLOAD = 128


@cache
def core() -> tuple[Any, Any]:
    names = ("frame", "window", "link", "link_transmit", "message", "codec", "slots")
    headers = ["link", "message", "codec", "slots"]
    return core_library([SOURCE / f"{name}.c" for name in names], [f"cutlayer/{name}.h" for name in headers])


def pointer(array: np.ndarray) -> Any:
    ffi, _ = core()
    return ffi.cast("int8_t *", ffi.from_buffer(array))


# --- frames ---


def c_bodies(parts: list[bytes]) -> tuple[list[bytes], int]:
    """What the firmware's decoder takes, bodies too short for a header left out; and what it drops."""
    ffi, lib = core()
    body = ffi.new("uint8_t[]", HEADER_BYTES + MAX_PAYLOAD + 4)
    decoder, used = ffi.new("struct cl_frame_decoder *"), ffi.new("uint32_t *")
    lib.cl_frame_decoder_init(decoder, body, len(body))
    bodies, dropped = [], 0
    for part in parts:
        while part:
            result = lib.cl_frame_decode(decoder, part, len(part), used)
            part = part[used[0] :]
            if result >= HEADER_BYTES:
                bodies.append(bytes(ffi.buffer(body, result)))
            else:
                # 0 at the end of a frame: one without a body.
                dropped += result != 0
    return bodies, dropped


def frames(data: bytes) -> None:
    choices = Choices(data)
    size = 1 + choices.below(64)
    stream = choices.rest()
    if size % 4:
        stream = b"".join(encode_frame(stream[at : at + 40]) for at in range(0, len(stream), 40)) + stream
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    decoder = FrameDecoder(MAX_PAYLOAD)
    bodies = [body for part in parts for body in decoder.receive(part)]
    assert (bodies, decoder.counters.malformed) == c_bodies(parts)
    for body in bodies:
        assert FrameDecoder(MAX_PAYLOAD).receive(b"\0" + encode_frame(body)) == [body]


# --- messages ---


def check_same(payload: bytes, message: Message, decoded: Any) -> None:
    """The fields of a message of the host, here and there."""
    ffi, _ = core()
    fields = getattr(decoded, "as")
    part = getattr(fields, message.KIND.name.lower(), None)
    if isinstance(message, Provision):
        assert bytes(ffi.buffer(part.device_id, 8)) == message.device_id
        assert bytes(ffi.buffer(part.key, 32)) == message.key
    elif isinstance(message, Piece):
        data = bytes(ffi.buffer(part.data, part.data_bytes))
        assert (part.first, part.count, data) == (message.first, message.count, message.data)
    elif part is not None:
        assert all(getattr(part, name) == getattr(message, name) for name in dir(part)), payload


def messages(data: bytes) -> None:
    """Any payload: taken or refused for one reason on both sides, with the same fields."""
    ffi, lib = core()
    decoded, payload = ffi.new("struct cl_message *"), ffi.new("uint8_t[]", data or b"\0")
    result = lib.cl_message_decode(decoded, payload, len(data))
    message, code = taken(lambda: decode(data))
    if message is None:
        # To a firmware what boards send is unknown, and an ERROR, never answered, needs no look.
        if not data or data[0] < Kind.ERROR:
            assert result == code
        elif data[0] > Kind.ERROR:
            assert result < 0
        return
    assert decode(message.encode()) == message
    assert len(message.encode()) == len(data)
    if isinstance(message, Hello) and message.wire_version != WIRE_VERSION:
        assert result < 0  # the host leaves this one to the session
    elif message.KIND < 0x80 and message.KIND != Kind.ERROR:
        assert result == 0
        check_same(data, message, decoded)
    else:
        # What boards send; an ERROR is taken by all, and answered by none.
        assert (result == 0) == (message.KIND == Kind.ERROR)


# --- tensors ---


def codecs(data: bytes) -> None:
    choices = Choices(data)
    count = 1 + choices.below(300)
    if choices.below(2):
        _activations(choices, count)
    else:
        _gradients(choices, count)


def _activations(choices: Choices, count: int) -> None:
    _, lib = core()
    codec, zero_point = choices.one_of(ACTIVATION_CODECS), choices.below(256) - 128
    data, out = choices.rest(), np.zeros(count, np.int8)
    result = lib.cl_codec_decode(codec, zero_point, data, len(data), count, pointer(out))
    values, code = taken(lambda: tensors.activation_values(data, count, codec, zero_point))
    assert result == code
    if values is None:
        return
    assert np.array_equal(out, values)
    again = tensors.activation_data(values, codec, zero_point)
    assert np.array_equal(tensors.activation_values(again, count, codec, zero_point), values)


def _gradients(choices: Choices, count: int) -> None:
    ffi, lib = core()
    codec, activation_codec = choices.below(3), choices.one_of(ACTIVATION_CODECS)
    low, high = choices.below(256) - 128, choices.below(256) - 128
    y = np.frombuffer(choices.noise.randbytes(count), np.int8) & np.int8(-16)
    data, g = choices.rest(), np.zeros(count, np.int8)
    clamp = ffi.new("struct cl_clamp *", lib.cl_clamp_of(activation_codec, low, high))
    mask = ffi.new("uint8_t[]", count // 8 + 1)
    lib.cl_mask_put(mask, clamp, 0, pointer(y), count)
    masked = tensors.masked(y, activation_codec, low, high)
    fits = lib.cl_codec_gradient_bytes(codec, mask, 0, count) == len(data)
    taken_codes, source = ffi.new("uint32_t *"), data or b"\0"
    result = ErrorCode.LENGTH.value
    if fits:
        result = lib.cl_codec_gradient_decode(codec, mask, 0, count, source, taken_codes, pointer(g))
    values, code = taken(lambda: tensors.gradient_values(data, masked, codec))
    assert result == code
    if values is None:
        return
    assert np.array_equal(g, values)
    assert np.array_equal(
        tensors.gradient_values(tensors.gradient_data(values, masked, codec), masked, codec), g
    )


# --- the link ---


def some_frame(choices: Choices, connection: int) -> bytes:
    """A frame whose CRC-32 is right and whose fields are anything, mostly near."""
    kind = choices.below(8)
    near = [choices.below(20) if choices.below(10) else choices.below(1 << 16) for _ in range(3)]
    there = connection if choices.below(20) else choices.below(1 << 16)
    payload = b""
    if kind in (FrameKind.SYN, FrameKind.SYN_ACK) and choices.below(4):
        payload = Parameters(MAX_PAYLOAD, 1000, 3).encode()
        if choices.below(4) == 0:
            at = choices.one_of((0, 2, 3, 4, 5, 6, 7))
            payload = payload[:at] + choices.take(1) + payload[at + 1 :]
    elif kind == FrameKind.DATA or choices.below(8) == 0:
        payload = choices.noise.randbytes(choices.below(MAX_PAYLOAD + 8))
    frame = bytearray(encode_frame(Header(kind, there, *near, choices.below(1 << 16)).encode() + payload))
    if choices.below(12) == 0:
        frame[choices.below(len(frame) - 1)] = choices.below(256)
    return bytes(frame)


def link(data: bytes) -> None:
    """Either end: frames, time, messages in and out. Never raises; memory and talk are bounded."""
    choices = Choices(data)
    end = Link(choices.one_of(tuple(Role)), Parameters(MAX_PAYLOAD, 1000, 3), rng=choices.noise)
    now_ms = 0.0
    while choices:
        if end.role is Role.HOST and end.state is LinkState.CLOSED:
            end.connect(now_ms)
        connection = end.connection if end.role is Role.HOST else 1 + choices.below(3)
        for event in end.receive(some_frame(choices, connection), now_ms):
            assert not isinstance(event, Received) or 1 <= len(event.payload) <= MAX_PAYLOAD
        if choices.below(3) == 0 and end.state is LinkState.OPEN and end.peer is not None:
            end.send(bytes(1 + choices.below(MAX_PAYLOAD)))
        end.expecting, end.busy = choices.below(2) == 0, choices.below(8) == 0
        assert len(end.transmit(now_ms)) < 100_000
        timeout_ms = end.next_timeout_ms(now_ms)
        assert timeout_ms is None or timeout_ms >= 0
        now_ms += choices.below(4) if choices.below(50) else choices.below(12_000)


class FirmwareLink:
    """The board's end in C."""

    def __init__(self) -> None:
        self.ffi, self.lib = core()
        encode = "int32_t(void *, const struct cl_link_token *, uint8_t *, uint32_t)"
        self._keep = self.ffi.callback(encode, lambda *_: -1), self.ffi.new("uint32_t[]", 400)
        config = {"max_payload": MAX_PAYLOAD, "window_frames": 3, "window_bytes": 1000}
        config |= {"encode": self._keep[0], "memory": self._keep[1], "memory_bytes": 1600}
        self.link = self.ffi.new("struct cl_link *")
        assert self.lib.cl_link_init(self.link, self.ffi.new("struct cl_link_config *", config)) > 0

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        self.lib.cl_link_receive(self.link, data, len(data), now_ms)
        got, at = [], self.ffi.new("const uint8_t **")
        while count := self.lib.cl_link_message(self.link, at):
            got.append(bytes(self.ffi.buffer(at[0], count)))
            self.lib.cl_link_release(self.link)
        return got

    def transmit(self, now_ms: int) -> bytes:
        data, at = b"", self.ffi.new("const uint8_t **")
        while count := self.lib.cl_link_transmit(self.link, now_ms, at):
            data += bytes(self.ffi.buffer(at[0], count))
            self.lib.cl_link_written(self.link, count, now_ms)
        return data


def both_links(data: bytes) -> None:
    """The board's end here and in C: the same frames in, the same messages and frames out."""
    choices = Choices(data)
    here, there = Link(Role.BOARD, Parameters(MAX_PAYLOAD, 1000, 3)), FirmwareLink()
    now_ms = 0
    while choices:
        frame = some_frame(choices, 1 + choices.below(3))
        got = [event.payload for event in here.receive(frame, now_ms) if isinstance(event, Received)]
        assert there.receive(frame, now_ms) == got
        assert (here.state is LinkState.OPEN) == (there.link.state == there.lib.CL_LINK_OPEN)
        counters = here.decoder.counters
        assert counters.malformed == there.link.frames_malformed
        assert counters.frames == there.link.frames_received
        assert said(here.transmit(now_ms)) == said(there.transmit(now_ms))
        now_ms += choices.below(4)


def said(data: bytes) -> list[tuple[bytes, bytes]]:
    """Frames without their credit: of what an end has room for, each knows for itself."""
    return [(body[:10], body[HEADER_BYTES:]) for body in FrameDecoder().receive(data)]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "both_links": both_links,
    "codecs": codecs,
    "frames": frames,
    "link": link,
    "messages": messages,
    "session": session,
}
