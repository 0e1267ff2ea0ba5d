"""Frames in C against the Python ones: the same bytes out, the same bodies in, whatever comes."""

from __future__ import annotations

import itertools
import zlib
from functools import cache
from typing import Any

import pytest
from core import SOURCE, core_library
from hypothesis import given
from hypothesis import strategies as st

from cutlayer_host.wire import HEADER_BYTES, FrameDecoder, encode_frame, frame_bytes_max

MAX_PAYLOAD = 600
ERROR_MEMORY, ERROR_FRAME = -2, -3

# Bytes with few and with many zeros: COBS changes with both.
bodies = st.one_of(
    st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES + MAX_PAYLOAD),
    st.integers(HEADER_BYTES, HEADER_BYTES + MAX_PAYLOAD).map(lambda size: bytes([7]) * size),
    st.lists(st.sampled_from([0, 1, 255]), min_size=HEADER_BYTES, max_size=HEADER_BYTES + MAX_PAYLOAD).map(
        bytes
    ),
)


@cache
def library() -> tuple[Any, Any]:
    return core_library([SOURCE / "frame.c"], ["cutlayer/frame.h"])


def encode(body: bytes, in_place: bool = False) -> bytes:
    ffi, lib = library()
    capacity = frame_bytes_max(len(body) - HEADER_BYTES)
    frame = ffi.new("uint8_t[]", capacity)
    source = frame + (len(body) + 4 + 253) // 254 if in_place else ffi.new("uint8_t[]", len(body))
    ffi.memmove(source, body, len(body))
    written = lib.cl_frame_encode(frame, capacity, source, len(body))
    assert written > 0
    return bytes(ffi.buffer(frame, written))


class Decoder:
    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self.ffi, self.lib = library()
        self.capacity = HEADER_BYTES + max_payload + 4
        self.body = self.ffi.new("uint8_t[]", self.capacity)
        self.decoder = self.ffi.new("struct cl_frame_decoder *")
        self.lib.cl_frame_decoder_init(self.decoder, self.body, self.capacity)
        self.malformed = 0

    def receive(self, data: bytes) -> list[bytes]:
        bodies = []
        used = self.ffi.new("uint32_t *")
        while data:
            result = self.lib.cl_frame_decode(self.decoder, data, len(data), used)
            data = data[used[0] :]
            if result > 0:
                bodies.append(bytes(self.ffi.buffer(self.body, result)))
            else:
                assert result == ERROR_FRAME or not data
                self.malformed += result == ERROR_FRAME
        return bodies


def in_chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(bodies)
def test_frames_are_those_of_the_host(body: bytes) -> None:
    assert encode(body) == encode_frame(body)


@given(bodies)
def test_a_body_may_lie_in_the_buffer_of_its_frame(body: bytes) -> None:
    assert encode(body, in_place=True) == encode_frame(body)


def test_every_length_around_the_blocks_of_cobs() -> None:
    for size in range(HEADER_BYTES, 1100):
        for fill in (b"\1", b"\0", b"\xff"):
            body = fill * size
            assert encode(body, in_place=True) == encode_frame(body)


@given(st.lists(bodies, max_size=5), st.lists(st.integers(0, 3000)))
def test_frames_come_back_however_they_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    decoder = Decoder()
    data = b"".join(map(encode, sent))
    received = [body for chunk in in_chunks(data, cuts) for body in decoder.receive(chunk)]
    assert received == sent
    assert decoder.malformed == 0


@given(st.lists(st.one_of(st.binary(max_size=40), bodies.map(encode_frame), st.just(b"\0")), max_size=8))
def test_any_bytes_give_what_the_host_reads(parts: list[bytes]) -> None:
    data = b"".join(parts)
    mine, theirs = Decoder(), FrameDecoder(MAX_PAYLOAD)
    # The link, not the frame, knows how long a header is.
    received = mine.receive(data)
    bodies = [body for body in received if len(body) >= HEADER_BYTES]
    assert bodies == theirs.receive(data)
    assert mine.malformed + len(received) - len(bodies) == theirs.counters.malformed


@given(st.data())
def test_a_lost_or_changed_byte_costs_one_frame(data: st.DataObject) -> None:
    sent = [bytes([index]) * 50 + bytes(index) + b"\1" for index in range(1, 5)]
    frames = bytearray(b"".join(map(encode, sent)))
    place = data.draw(st.integers(0, len(frames) - 1))
    if data.draw(st.booleans()):
        del frames[place]
    else:
        frames[place] ^= data.draw(st.integers(1, 255))
    received = Decoder().receive(bytes(frames))
    # Without the zero between them, two frames are one.
    assert len(received) >= 2
    assert [body for body in sent if body in received] == received


def test_a_block_that_the_frame_cuts_short_is_no_cobs() -> None:
    frame = bytearray(encode_frame(b"\1" * 40))
    assert frame[0] == len(frame) - 1  # one block
    frame[0] += 1
    decoder = Decoder()
    assert decoder.receive(bytes(frame)) == []
    assert decoder.malformed == 1


def test_a_frame_too_long_by_one_byte_is_dropped() -> None:
    decoder = Decoder(max_payload=128)
    assert decoder.receive(encode_frame(bytes(HEADER_BYTES + 129))) == []
    assert decoder.malformed == 1
    assert decoder.receive(encode_frame(b"\5" * (HEADER_BYTES + 128))) == [b"\5" * (HEADER_BYTES + 128)]


@pytest.mark.parametrize("size", [12, 253, 254, 255, 1036])
def test_a_frame_needs_its_longest_length(size: int) -> None:
    ffi, lib = library()
    capacity = frame_bytes_max(size - HEADER_BYTES)
    frame = ffi.new("uint8_t[]", capacity)
    assert lib.cl_frame_encode(frame, capacity - 1, bytes(size), size) == ERROR_MEMORY
    assert lib.cl_frame_encode(frame, capacity, bytes(size), size) > 0


@given(st.binary(max_size=300), st.integers(0, 300))
def test_crc_is_zlibs_and_goes_on(data: bytes, cut: int) -> None:
    _, lib = library()
    assert lib.cl_crc32(0, data, len(data)) == zlib.crc32(data)
    first, rest = data[:cut], data[cut:]
    assert lib.cl_crc32(lib.cl_crc32(0, first, len(first)), rest, len(rest)) == zlib.crc32(data)


def joined(first: bytes, second: bytes, lost: int) -> list[bytes]:
    """What comes of two frames when the first loses its end and the second its first bytes."""
    return Decoder().receive(b"\0" + encode(first)[:-1] + encode(second)[lost:])


def test_a_frame_that_lost_its_end_joins_no_frame_whose_kind_is_not_0() -> None:
    first, rest = bytes(range(1, 30)), bytes(range(40, 70))
    # Behind a body and its CRC-32 the register is what four zero bytes make of it (SPEC.md, section 1).
    # COBS puts a fifth one where the frames join.
    assert len(joined(first, bytes(5) + rest, 5)) == 1
    for kind in range(1, 7):
        second = bytes([kind]) + bytes(3) + rest
        for lost in range(len(encode(second))):
            assert joined(first, second, lost) in ([], [first]), (kind, lost)
