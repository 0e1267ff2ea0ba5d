"""The link in C, frame by frame: connections, and what a frame may be. Over lines: test_line.py."""

from __future__ import annotations

import pytest
from core_link import (
    ACK,
    DATA,
    ERROR_ARGUMENT,
    ERROR_CLOSED,
    ERROR_MEMORY,
    LOST,
    NEVER_MS,
    OPENED,
    PING,
    REFUSED,
    RESET,
    SYN,
    SYN_ACK,
    Frame,
    Link,
    connected,
    data,
    library,
    parameters,
)

from cutlayer_host.wire import WIRE_VERSION, encode_frame


def test_a_repeated_syn_repeats_only_the_answer() -> None:
    link = connected()
    link.take(data(0))
    assert [frame.kind for frame in link.exchange(Frame(SYN, payload=parameters()))] == [SYN_ACK, ACK]
    assert link.events == 0
    assert link.messages() == [b"abc"]


def test_another_syn_drops_everything() -> None:
    link = connected()
    assert link.send(1) == 0
    link.exchange(data(1))
    (answer,) = link.exchange(Frame(SYN, connection=10, payload=parameters()))
    assert (answer.kind, answer.connection) == (SYN_ACK, 10)
    assert link.events == OPENED
    assert link.lib.cl_link_outstanding(link.link) == 0
    (answer,) = link.exchange(data(0, b"new", connection=10))
    assert (answer.kind, answer.seq, answer.ack, answer.sack) == (ACK, 0, 1, 0)
    assert link.messages() == [b"new"]


def test_a_frame_half_written_does_not_spoil_the_next_connection() -> None:
    link = connected()
    pointer = link.ffi.new("const uint8_t **")
    assert link.send(1) == 0
    assert link.lib.cl_link_transmit(link.link, link.now_ms, pointer) > 5
    assert link._decoder.receive(bytes(link.ffi.buffer(pointer[0], 5))) == []
    link.lib.cl_link_written(link.link, 5, link.now_ms)
    answers = link.exchange(Frame(SYN, connection=10, payload=parameters()))
    assert [frame.kind for frame in answers] == [DATA, SYN_ACK]


def test_another_wire_version_is_told_ours() -> None:
    link = Link()
    (answer,) = link.exchange(Frame(SYN, payload=bytes([WIRE_VERSION + 1]) + b"later versions may say more"))
    assert (answer.kind, answer.payload[0]) == (SYN_ACK, WIRE_VERSION)
    assert link.link.state == link.lib.CL_LINK_CLOSED
    assert link.events == 0


def test_a_host_learns_that_its_version_is_refused() -> None:
    link = Link(host=True)
    assert link.lib.cl_link_connect(link.link, 9, link.now_ms) == 0
    (syn,) = link.give()
    assert (syn.kind, syn.connection) == (SYN, 9)
    link.take(Frame(SYN_ACK, payload=parameters(version=WIRE_VERSION + 1)))
    assert link.events == LOST | REFUSED


def test_a_host_begins_with_a_zero_and_repeats_syn() -> None:
    link = Link(host=True)
    pointer = link.ffi.new("const uint8_t **")
    assert link.lib.cl_link_connect(link.link, 9, link.now_ms) == 0
    assert link.lib.cl_link_transmit(link.link, link.now_ms, pointer) == 1
    assert pointer[0][0] == 0
    assert [frame.kind for frame in link.give()] == [SYN]
    assert link.timeout_ms == 500
    link.now_ms += 499
    assert link.give() == []
    link.now_ms += 1
    assert [frame.kind for frame in link.give()] == [SYN]
    assert link.lib.cl_link_connect(link.link, 0, link.now_ms % 2**32) == ERROR_ARGUMENT
    assert connected().lib.cl_link_connect(connected().link, 5, 0) == ERROR_ARGUMENT


def test_a_frame_of_no_connection_is_answered_with_reset() -> None:
    for link in (Link(), connected()):
        for kind in (SYN_ACK, DATA, ACK, PING):
            payload = {SYN_ACK: parameters(), DATA: b"x"}.get(kind, b"")
            (answer,) = link.exchange(Frame(kind, connection=77, payload=payload))
            assert answer == Frame(RESET, connection=77, credit=0)
        assert link.exchange(Frame(RESET, connection=77)) == []
        assert link.events == 0


def test_reset_ends_the_connection() -> None:
    link = connected()
    assert link.send(1) == 0
    assert link.exchange(Frame(RESET)) == []
    assert link.events == LOST
    assert link.lib.cl_link_room(link.link) == 0
    assert link.send(1) == ERROR_CLOSED
    assert link.timeout_ms == NEVER_MS


MALFORMED = {
    "unknown kind": Frame(7),
    "kind 0": Frame(0),
    "no connection": Frame(ACK, connection=0),
    "an ACK with payload": Frame(ACK, payload=b"x"),
    "DATA without payload": Frame(DATA),
    "a short SYN": Frame(SYN, connection=3, payload=parameters()[:7]),
    "a payload too short": Frame(SYN, connection=3, payload=parameters(payload=127)),
    "a payload too long": Frame(SYN, connection=3, payload=parameters(payload=4097)),
    "a window less than a frame": Frame(SYN, connection=3, payload=parameters(payload=512, window_bytes=531)),
    "no window": Frame(SYN, connection=3, payload=parameters(frames=0)),
    "a window too wide": Frame(SYN, connection=3, payload=parameters(frames=18)),
    "no header": encode_frame(b"short"),
    "no frame": b"\5\1\0",
    "too long": Frame(DATA, payload=bytes(129)),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_counted_and_dropped(what: str) -> None:
    link = connected()
    assert link.exchange(MALFORMED[what]) == []
    assert (link.link.frames_malformed, link.link.frames_received) == (1, 1)
    assert link.events == 0


def test_the_shorter_payload_of_both_is_kept() -> None:
    link = connected()
    assert link.lib.cl_link_payload_max(link.link) == 128
    assert link.send(1, payload_max=129) == ERROR_ARGUMENT
    assert link.send(1, payload_max=0) == ERROR_ARGUMENT
    wide = Link(max_payload=300)
    wide.exchange(Frame(SYN, payload=parameters(payload=200)))
    assert wide.lib.cl_link_payload_max(wide.link) == 200


def test_a_message_that_cannot_be_made_ends_the_connection() -> None:
    link = connected()
    link.broken_token = 6
    assert link.send(6) == 0
    assert link.give() == [Frame(RESET, credit=0)]
    assert link.events == LOST


def test_frames_may_be_written_a_byte_at_a_time() -> None:
    link = connected()
    assert link.send(1) == link.send(2) == 0
    assert [frame.payload for frame in link.give(part=1)] == [b"\1" * 10, b"\2" * 10]
    assert link.link.bytes_sent == sum(
        len(frame.encode())
        for frame in (Frame(SYN_ACK, payload=bytes(8)), data(0, bytes(10)), data(1, bytes(10)))
    )


def test_an_interrupted_frame_is_sent_again() -> None:
    link = connected()
    pointer = link.ffi.new("const uint8_t **")
    assert link.send(1) == 0
    assert link.lib.cl_link_transmit(link.link, link.now_ms, pointer) > 5
    link.lib.cl_link_written(link.link, 5, link.now_ms)
    link.take(data(0).encode()[:9])
    link.lib.cl_link_interrupted(link.link)
    assert [frame.kind for frame in link.exchange(data(0))] == [ACK]
    assert link.link.frames_malformed == 0
    link.now_ms += 500
    assert [frame.payload for frame in link.give()] == [b"\1" * 10]


def test_what_init_refuses() -> None:
    assert Link().init_result > 0
    for fields in (
        {"max_payload": 127},
        {"max_payload": 4097},
        {"window_frames": 0},
        {"window_frames": 18},
        {"window_bytes": 145},  # a frame of 128 bytes takes 146
        {"encode": library()[0].NULL},
    ):
        assert Link(**fields).init_result == ERROR_ARGUMENT
    assert Link(window_bytes=146).init_result > 0
    needed = Link().init_result
    assert Link(memory_bytes=needed).init_result == needed
    assert Link(memory_bytes=needed - 1).init_result == ERROR_MEMORY
    assert Link(memory=library()[0].NULL).init_result == ERROR_MEMORY
