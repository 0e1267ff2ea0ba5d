"""The board's end of the link in C, frame by frame. Over lines with faults: tests/unit/test_link.py."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
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


def test_frames_out_of_order_are_held_and_told() -> None:
    link = connected()
    (answer,) = link.exchange(data(2, b"two"), data(1, b"one"), data(3, b"three"))
    assert (answer.kind, answer.ack, answer.sack, answer.credit) == (ACK, 0, 0b111, WINDOW_BYTES)
    assert link.messages() == []
    (answer,) = link.exchange(data(0, b"zero"))
    assert (answer.ack, answer.sack, answer.credit) == (4, 0, 0)
    assert link.messages() == [b"zero", b"one", b"two", b"three"]
    (answer,) = link.give()  # credit is back
    assert (answer.kind, answer.ack, answer.credit) == (ACK, 4, WINDOW_BYTES)


def test_repeats_and_strangers_are_dropped_and_answered() -> None:
    link = connected()
    link.take(data(0))
    assert link.messages() == [b"abc"]
    link.give()
    for seq in (0, 65535, 5, 40000):  # repeats, and behind the window of 1 to 4
        (answer,) = link.exchange(data(seq, b"stranger"))
        assert (answer.kind, answer.ack, answer.sack) == (ACK, 1, 0)
    link.take(data(4, b"last"))
    assert link.give()[0].sack == 0b100
    assert link.messages() == []


def test_an_ack_waits_for_data_that_goes_out_anyway() -> None:
    link = connected()
    link.take(data(0))
    assert link.send(5) == 0
    (answer,) = link.give()
    assert (answer.kind, answer.ack, answer.payload) == (DATA, 1, b"\5" * 10)


def test_a_ping_is_answered_and_an_ack_is_not() -> None:
    link = connected()
    assert [frame.kind for frame in link.exchange(Frame(PING))] == [ACK]
    assert link.exchange(Frame(ACK)) == []


def test_a_message_is_made_anew_at_each_transmission() -> None:
    link = connected()
    assert link.send(1) == link.send(2) == link.send(3) == 0
    assert [frame.seq for frame in link.give()] == [0, 1, 2]
    # 2 has arrived, which left after 0 and 1: they are lost.
    assert [frame.seq for frame in link.exchange(Frame(ACK, sack=0b10))] == [0, 1]
    assert link.encoded == [1, 2, 3, 1, 2]
    assert link.link.data_resent == 2
    assert link.exchange(Frame(ACK, ack=3)) == []
    assert link.lib.cl_link_outstanding(link.link) == 0


def test_the_oldest_frame_is_sent_again_when_its_time_is_out() -> None:
    link = connected()
    assert link.send(1) == link.send(2) == 0
    link.give()
    for wait_ms in (500, *[1000] * 9):
        assert link.timeout_ms == wait_ms
        link.now_ms += wait_ms - 1
        assert link.give() == []
        link.now_ms += 1
        assert [frame.seq for frame in link.give()] == [0]
    link.now_ms += 10_000 - 9_500
    assert link.give() == []
    assert link.events == LOST


def test_a_frame_sent_again_too_early_says_nothing_of_the_others() -> None:
    link = connected()
    assert link.send(1) == link.send(2) == link.send(3) == 0
    link.give()
    link.now_ms += 500
    assert [frame.seq for frame in link.give()] == [0]
    # The first copy of 0 was only late; 1 and 2, which left before the second one, are not lost.
    assert link.exchange(Frame(ACK, ack=1)) == []
    assert link.exchange(Frame(ACK, ack=1, sack=0b1)) == [data(1, b"\2" * 10, ack=0, credit=WINDOW_BYTES)]


def test_the_time_out_follows_the_round_trip() -> None:
    link = connected()
    for seq in range(12):
        assert link.send(seq + 1) == 0
        assert len(link.give()) == 1
        link.now_ms += 200
        assert link.exchange(Frame(ACK, ack=seq + 1)) == []
    assert link.send(20) == 0
    link.give()
    assert 200 <= link.timeout_ms <= 250
    # Karn: of a frame that was sent twice there is no round trip.
    link.now_ms += link.timeout_ms
    assert len(link.give()) == 1
    link.now_ms += 3000
    srtt = link.link.sending.srtt_8ms
    link.take(Frame(ACK, ack=13))
    assert link.link.sending.srtt_8ms == srtt


def test_silence_counts_only_while_something_is_waited_for() -> None:
    link = connected()
    link.now_ms += 60_000
    assert link.give() == []
    assert link.send(1) == 0
    assert len(link.give()) == 1
    link.now_ms += 9_999
    link.give()
    assert link.events == 0
    link.now_ms += 1
    link.give()
    assert link.events == LOST


def test_credit_and_window_of_the_host_are_kept() -> None:
    link = connected()
    frame_bytes = len(Frame(DATA, payload=bytes(100)).encode())
    for token in range(8):
        assert link.send(token + 1, count=100) == 0
    assert link.send(9) == ERROR_MEMORY
    assert len(link.exchange(Frame(ACK, credit=0))) == 0
    assert len(link.exchange(Frame(ACK, credit=2 * frame_bytes + 10))) == 2
    # One of them has arrived, and there is credit for three.
    assert len(link.exchange(Frame(ACK, ack=1, credit=3 * frame_bytes + 10))) == 2
    # Frame 2 has arrived too: 1 is lost and sent again out of turn, 3 is on its way, there is credit for 4.
    answers = link.exchange(Frame(ACK, ack=1, sack=0b1, credit=3 * frame_bytes + 10))
    assert [frame.seq for frame in answers] == [1, 4]


def test_no_more_frames_than_the_host_can_hold() -> None:
    link = Link()
    link.exchange(Frame(SYN, payload=parameters(frames=3)))
    for token in range(8):
        assert link.send(token + 1) == 0
    assert [frame.seq for frame in link.give()] == [0, 1, 2]
    assert [frame.seq for frame in link.exchange(Frame(ACK, ack=1))] == [3]


def test_without_credit_the_host_is_asked() -> None:
    link = connected()
    link.exchange(Frame(ACK, credit=0))
    assert link.send(1) == 0
    assert link.give() == []
    assert link.timeout_ms == 500
    link.now_ms += 500
    assert [frame.kind for frame in link.give()] == [PING]
    assert [frame.kind for frame in link.exchange(Frame(ACK, credit=500))] == [DATA]


def test_an_old_or_impossible_ack_is_ignored() -> None:
    link = connected()
    assert link.send(1) == link.send(2) == 0
    link.give()
    link.take(Frame(ACK, ack=1))
    for ack in (0, 3, 40000):
        link.take(Frame(ACK, ack=ack, credit=0, sack=0xFFFF))
    assert link.lib.cl_link_outstanding(link.link) == 1
    assert link.link.sending.peer_credit == 10_000


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


def test_numbers_wrap() -> None:
    link = connected()
    first = 2**16 - 3
    for name in ("base", "next", "end"):
        setattr(link.link.sending, name, first)
    link.link.receiving.next = first
    for token in range(6):
        assert link.send(token + 1) == 0
    assert [frame.seq for frame in link.give()] == [65533, 65534, 65535, 0, 1, 2]
    assert [frame.seq for frame in link.exchange(Frame(ACK, ack=65535, sack=0b1))] == [65535]
    assert link.exchange(Frame(ACK, ack=3)) == []
    assert link.lib.cl_link_outstanding(link.link) == 0
    received = [b"%d" % i for i in range(6)]
    for i in (2, 1, 3, 0):
        link.take(data((first + i) % 2**16, received[i]))
    assert link.messages() == received[:4]
    link.take(data(2, received[5]), data(1, received[4]))
    assert link.messages() == received[4:]


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
