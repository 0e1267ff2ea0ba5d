"""Frames: what goes in comes out, whatever else is on the line."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutlayer_host.body import Parameters
from cutlayer_host.link import Link, Role
from cutlayer_host.wire import HEADER_BYTES, FrameDecoder, encode_frame, frame_bytes_max

bodies = st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES + 600)


@given(bodies)
def test_a_frame_gives_its_body(body: bytes) -> None:
    frame = encode_frame(body)
    assert frame.index(b"\0") == len(frame) - 1
    assert len(frame) <= frame_bytes_max(len(body) - HEADER_BYTES)
    decoder = FrameDecoder(600)
    assert decoder.receive(frame) == [body]
    assert (decoder.counters.frames, decoder.counters.malformed) == (1, 0)


@pytest.mark.parametrize("fill", [b"\0", b"\1", b"\xff"])
@pytest.mark.parametrize("payload_bytes", [0, 1, 237, 238, 239, 492, 4096])
def test_no_frame_is_longer_than_its_bound(fill: bytes, payload_bytes: int) -> None:
    body = fill * (HEADER_BYTES + payload_bytes)
    assert len(encode_frame(body)) <= frame_bytes_max(payload_bytes)
    assert FrameDecoder(4096).receive(encode_frame(body)) == [body]


@given(st.lists(bodies, max_size=5), st.data())
def test_pieces_of_the_stream_do_not_matter(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(encode_frame, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = FrameDecoder(600)
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.receive(stream[start:end])
    assert received == sent


@given(bodies, st.data())
def test_a_changed_byte_costs_one_frame(body: bytes, data: st.DataObject) -> None:
    frame = bytearray(encode_frame(body))
    place = data.draw(st.integers(0, len(frame) - 2))
    frame[place] ^= data.draw(st.integers(1, 255))
    decoder = FrameDecoder(600)
    assert decoder.receive(bytes(frame) + encode_frame(b"next" * 3)) == [b"next" * 3]
    assert decoder.counters.malformed >= 1


@given(bodies, st.data())
def test_a_lost_byte_costs_one_frame(body: bytes, data: st.DataObject) -> None:
    frame = encode_frame(body)
    place = data.draw(st.integers(0, len(frame) - 2))
    decoder = FrameDecoder(600)
    after = encode_frame(b"next" * 3)
    assert decoder.receive(frame[:place] + frame[place + 1 :] + after) == [b"next" * 3]
    assert decoder.counters.malformed == 1


def test_empty_frames_are_nothing() -> None:
    decoder = FrameDecoder()
    assert decoder.receive(b"\0\0\0") == []
    assert decoder.receive(b"\0" + encode_frame(bytes(12)) + b"\0") == [bytes(12)]
    assert (decoder.counters.frames, decoder.counters.malformed) == (1, 0)


@pytest.mark.parametrize("body_bytes", [0, HEADER_BYTES - 1, HEADER_BYTES + 129])
def test_a_body_too_short_or_too_long_is_dropped(body_bytes: int) -> None:
    decoder = FrameDecoder(128)
    assert decoder.receive(encode_frame(bytes(body_bytes))) == []
    assert (decoder.counters.frames, decoder.counters.malformed) == (0, 1)


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_endless_noise_is_one_malformed_frame_and_takes_no_memory(chunk: int) -> None:
    decoder = FrameDecoder(128)
    for _ in range(0, 5000, min(chunk, 5000)):
        assert decoder.receive(b"\x01" * chunk) == []
        assert len(decoder._partial) <= frame_bytes_max(128)
    assert decoder.receive(b"\0" + encode_frame(bytes(12))) == [bytes(12)]
    assert (decoder.counters.frames, decoder.counters.malformed) == (1, 1)


def test_what_is_dropped_is_counted_wherever_the_stream_is_cut() -> None:
    stream = b"\x05abcd\0" * 3 + encode_frame(bytes(12)) + b"\xff" * 200 + b"\0\0" + encode_frame(bytes(13))
    for chunk in (1, 2, 7, 1000):
        decoder = FrameDecoder(128)
        received = []
        for start in range(0, len(stream), chunk):
            received += decoder.receive(stream[start : start + chunk])
        assert received == [bytes(12), bytes(13)]
        counters = decoder.counters
        assert (counters.bytes, counters.frames, counters.malformed) == (len(stream), 2, 4)


def _mutated_stream(total_bytes: int, rng: random.Random) -> bytes:
    """Half noise; half frames of every kind, some of them with a byte changed, lost or doubled."""
    parts: list[bytes] = []
    size = 0
    while size < total_bytes:
        if rng.random() < 0.3:
            part = rng.randbytes(rng.randrange(1, 3000))
        else:
            # Header fields from a few values, so that many frames concern the connection under test.
            header = bytes([rng.choice((0, 1, 2, 3, 3, 3, 4, 5, 6, 7)), 0]) + b"".join(
                rng.choice((0, 1, 2, 3, 7, 4096, 65535)).to_bytes(2, "little") for _ in range(5)
            )
            part = encode_frame(header + rng.randbytes(rng.choice((0, 1, 4, 8, 28, 500))))
            if rng.random() < 0.3:
                mangled = bytearray(part)
                place = rng.randrange(len(mangled))
                mangled[place : place + 1] = rng.choice((b"", b"\0", rng.randbytes(1), rng.randbytes(2)))
                part = bytes(mangled)
        parts.append(part)
        size += len(part)
    return b"".join(parts)


@pytest.mark.parametrize("role", Role)
def test_ten_million_random_and_mutated_bytes(role: Role) -> None:
    rng = random.Random(zlib.crc32(role.value.encode()))
    link = Link(role, Parameters(512, 4096, 8), rng=random.Random(1))
    now_ms = 0.0
    total = 0
    while total < 10_000_000:
        stream = _mutated_stream(200_000, rng)
        total += len(stream)
        for start in range(0, len(stream), 1500):
            if role is Role.HOST and link.peer is None:
                link.connect(now_ms)
                link.connection = 1
            now_ms += 1.0
            link.receive(stream[start : start + 1500], now_ms)
            if link.peer is not None and link.idle:
                link.send(b"payload")
            written = link.transmit(now_ms)
            assert len(FrameDecoder(512).receive(written)) == written.count(b"\0") - written.startswith(b"\0")
            timeout_ms = link.next_timeout_ms(now_ms)
            assert timeout_ms is None or timeout_ms >= 0
    counters = link.decoder.counters
    assert counters.bytes == total
    assert counters.frames > 1000
    assert counters.malformed > 1000
