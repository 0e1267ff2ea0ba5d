"""The link, one frame at a time: what SPEC.md, section 2 says, read off the wire."""

from __future__ import annotations

import itertools
import random

import pytest

from cutlayer_host.body import FrameKind, Header, Parameters
from cutlayer_host.errors import LinkLost
from cutlayer_host.link import Connected, Link, LinkState, Lost, LostReason, Received, Role
from cutlayer_host.wire import HEADER_BYTES, WIRE_VERSION, FrameDecoder, encode_frame, frame_bytes_max

SMALL = Parameters(max_payload=128, window_bytes=1000, window_frames=5)


def frames(data: bytes) -> list[tuple[Header, bytes]]:
    return [(Header.decode(body), body[HEADER_BYTES:]) for body in FrameDecoder().receive(data)]


def kinds(data: bytes) -> list[FrameKind]:
    return [FrameKind(header.kind) for header, _ in frames(data)]


def frame(kind: FrameKind, connection: int, payload: bytes = b"", **fields: int) -> bytes:
    return encode_frame(Header(kind, connection, **fields).encode() + payload)


def opened(host: Parameters | None = None, board: Parameters | None = None) -> tuple[Link, Link]:
    """A host and a board that have just connected, at 0 ms."""
    ends = Link(Role.HOST, host, rng=random.Random(1)), Link(Role.BOARD, board)
    ends[0].connect(0.0)
    assert ends[1].receive(ends[0].transmit(0.0), 0.0) == [Connected(ends[0].parameters)]
    assert ends[0].receive(ends[1].transmit(0.0), 0.0) == [Connected(ends[1].parameters)]
    return ends


def test_a_connection_starts_with_a_zero_byte_and_syn() -> None:
    host = Link(Role.HOST, SMALL, rng=random.Random(1))
    host.connect(0.0)
    data = host.transmit(0.0)
    assert data[0] == 0
    ((header, payload),) = frames(data)
    assert header == Header(FrameKind.SYN, host.connection, credit=1000)
    assert payload == bytes([WIRE_VERSION, 0, 128, 0, 0xE8, 3, 5, 0])


def test_syn_is_repeated_until_it_is_answered() -> None:
    host = Link(Role.HOST, SMALL)
    host.connect(0.0)
    host.transmit(0.0)
    assert host.next_timeout_ms(0.0) == 500.0
    assert host.transmit(499.0) == b""
    assert kinds(host.transmit(500.0)) == [FrameKind.SYN]
    host.receive(frame(FrameKind.SYN_ACK, host.connection, SMALL.encode(), credit=1000), 600.0)
    assert host.state is LinkState.OPEN
    assert host.transmit(2000.0) == b""


def test_each_connection_has_another_number() -> None:
    host = Link(Role.HOST, rng=random.Random(1))
    numbers = []
    for _ in range(200):
        host.connect(0.0)
        numbers.append(host.connection)
    assert all(0 < number < 1 << 16 for number in numbers)
    assert all(first != second for first, second in itertools.pairwise(numbers))


def test_a_board_answers_each_syn_and_connects_once() -> None:
    host, board = opened()
    syn = frame(FrameKind.SYN, host.connection, SMALL.encode(), credit=1000)
    for _ in range(3):
        assert board.receive(syn, 1.0) == []
        ((header, payload),) = frames(board.transmit(1.0))
        assert header == Header(FrameKind.SYN_ACK, host.connection, credit=board.parameters.window_bytes)
        assert payload == board.parameters.encode()


def test_another_host_takes_the_board_over() -> None:
    host, board = opened()
    board.send(b"lost")
    syn = frame(FrameKind.SYN, host.connection ^ 1, SMALL.encode(), credit=1000)
    assert board.receive(syn, 1.0) == [Lost(LostReason.REPLACED), Connected(SMALL)]
    assert kinds(board.transmit(1.0)) == [FrameKind.SYN_ACK]
    host.send(b"hello")
    assert board.receive(host.transmit(2.0), 2.0) == []
    assert host.receive(board.transmit(2.0), 2.0) == [Lost(LostReason.RESET)]
    assert host.state is LinkState.CLOSED


def test_another_wire_version_makes_no_connection() -> None:
    future = bytes([WIRE_VERSION + 1]) + SMALL.encode()[1:] + b"and more"
    board = Link(Role.BOARD, SMALL)
    assert board.receive(frame(FrameKind.SYN, 7, future), 0.0) == []
    assert [payload[0] for _, payload in frames(board.transmit(0.0))] == [WIRE_VERSION]
    assert board.state is LinkState.CLOSED
    host = Link(Role.HOST, SMALL)
    host.connect(0.0)
    answer = frame(FrameKind.SYN_ACK, host.connection, future)
    assert host.receive(answer, 1.0) == [Lost(LostReason.VERSION, wire_version=WIRE_VERSION + 1)]
    assert host.transmit(5000.0) == b""


@pytest.mark.parametrize("kind", [FrameKind.SYN_ACK, FrameKind.DATA, FrameKind.ACK, FrameKind.PING])
def test_an_unknown_connection_is_reset(kind: FrameKind) -> None:
    payload = SMALL.encode() if kind is FrameKind.SYN_ACK else b"x" if kind is FrameKind.DATA else b""
    for link in (Link(Role.BOARD), *opened()):
        unknown = (link.connection + 1) % (1 << 16) or 1
        assert link.receive(frame(kind, unknown, payload), 0.0) == []
        assert [header for header, _ in frames(link.transmit(0.0))] == [Header(FrameKind.RESET, unknown)]


def test_a_reset_is_never_answered() -> None:
    for link in (Link(Role.BOARD), *opened()):
        link.receive(frame(FrameKind.RESET, link.connection ^ 1 or 1), 0.0)
        assert link.transmit(0.0) == b""
        link.receive(frame(FrameKind.RESET, link.connection or 1), 0.0)
        assert link.state is LinkState.CLOSED
        assert link.transmit(0.0) == b""


def test_a_host_that_waits_for_syn_ack_drops_all_else() -> None:
    host = Link(Role.HOST)
    host.connect(0.0)
    host.transmit(0.0)
    assert host.receive(frame(FrameKind.DATA, host.connection, b"early"), 0.0) == []
    assert host.receive(frame(FrameKind.RESET, host.connection), 0.0) == []
    assert host.transmit(0.0) == b""
    assert host.state is LinkState.CONNECTING


@pytest.mark.parametrize(
    "body",
    [
        Header(FrameKind.DATA, 0).encode() + b"x",
        Header(FrameKind.DATA, 9).encode(),
        Header(FrameKind.ACK, 9).encode() + b"x",
        Header(FrameKind.RESET, 9).encode() + b"x",
        Header(FrameKind.PING, 9).encode() + b"x",
        Header(FrameKind.SYN, 9).encode() + SMALL.encode()[:-1],
        Header(FrameKind.SYN, 9).encode() + bytes([WIRE_VERSION, 0, 127, 0, 0xE8, 3, 5, 0]),
        Header(FrameKind.SYN, 9).encode() + bytes([WIRE_VERSION, 0, 1, 16, 255, 255, 5, 0]),
        Header(FrameKind.SYN, 9).encode() + bytes([WIRE_VERSION, 0, 128, 0, 145, 0, 5, 0]),
        Header(FrameKind.SYN, 9).encode() + bytes([WIRE_VERSION, 0, 128, 0, 0xE8, 3, 0, 0]),
        Header(FrameKind.SYN, 9).encode() + bytes([WIRE_VERSION, 0, 128, 0, 0xE8, 3, 18, 0]),
        Header(FrameKind.SYN_ACK, 9).encode() + bytes([WIRE_VERSION, 0, 128, 0, 0xE8, 3, 18, 0]),
        Header(0, 9).encode(),  # type: ignore[arg-type]
        Header(7, 9).encode(),  # type: ignore[arg-type]
    ],
)
def test_a_body_that_its_kind_does_not_allow_is_malformed(body: bytes) -> None:
    board = Link(Role.BOARD)
    assert board.receive(encode_frame(body), 0.0) == []
    assert board.transmit(0.0) == b""
    assert (board.decoder.counters.frames, board.decoder.counters.malformed) == (0, 1)


def test_a_malformed_syn_of_the_present_connection_is_not_answered() -> None:
    _, board = opened(board=SMALL)
    malformed = bytes([WIRE_VERSION, 0, 128, 0, 0xE8, 3, 18, 0])
    board.receive(encode_frame(Header(FrameKind.SYN, board.connection).encode() + malformed), 0.0)
    assert board.transmit(0.0) == b""
    assert board.decoder.counters.malformed == 1


def test_messages_arrive_in_order_and_once() -> None:
    host, board = opened(board=SMALL)
    for number in range(5):
        host.send(bytes([number]))
    sent = [encode_frame(header.encode() + payload) for header, payload in frames(host.transmit(1.0))]
    assert len(sent) == 5
    received = []
    for index in (1, 1, 4, 0, 0, 3, 2, 4):
        received += board.receive(sent[index], 2.0)
    assert received == [Received(bytes([number])) for number in range(5)]


def test_sack_names_what_came_early() -> None:
    host, board = opened(board=SMALL)
    for number in range(5):
        host.send(bytes([number]) * 100)
    sent = [encode_frame(header.encode() + payload) for header, payload in frames(host.transmit(1.0))]
    board.receive(sent[1] + sent[3], 2.0)
    ((header, _),) = frames(board.transmit(2.0))
    assert (header.kind, header.ack, header.sack) == (FrameKind.ACK, 0, 0b101)
    assert header.credit == 1000 - 2 * frame_bytes_max(100)
    board.receive(sent[0], 3.0)
    ((header, _),) = frames(board.transmit(3.0))
    assert (header.ack, header.sack, header.credit) == (2, 0b1, 1000 - frame_bytes_max(100))


def test_data_beyond_the_window_is_dropped_and_answered() -> None:
    host, board = opened(board=SMALL)
    assert board.receive(frame(FrameKind.DATA, host.connection, b"x", seq=5), 1.0) == []
    ((header, _),) = frames(board.transmit(1.0))
    assert (header.kind, header.ack, header.sack) == (FrameKind.ACK, 0, 0)


def test_one_acknowledgement_answers_a_whole_read() -> None:
    host, board = opened(board=SMALL)
    for number in range(4):
        host.send(bytes([number]))
    board.receive(host.transmit(1.0), 2.0)
    ((header, _),) = frames(board.transmit(2.0))
    assert (header.kind, header.ack) == (FrameKind.ACK, 4)
    assert board.transmit(3.0) == b""


def test_data_carries_the_acknowledgement() -> None:
    host, board = opened()
    host.send(b"question")
    board.receive(host.transmit(1.0), 2.0)
    board.send(b"answer")
    assert kinds(board.transmit(2.0)) == [FrameKind.DATA]


def test_a_sender_stays_within_credit_and_window() -> None:
    host, _ = opened(board=SMALL)
    for _ in range(20):
        host.send(bytes(128))
    data = host.transmit(1.0)
    assert len(kinds(data)) == 5
    for size, fitting in ((frame_bytes_max(128) * 2, 2), (0, 0)):
        host, _ = opened(board=SMALL)
        host.receive(frame(FrameKind.ACK, host.connection, credit=size), 1.0)
        for _ in range(20):
            host.send(bytes(128))
        assert len(kinds(host.transmit(1.0))) == fitting


def test_without_credit_a_sender_pings_and_goes_on_when_there_is_some() -> None:
    host, board = opened(board=SMALL)
    board.busy = True
    host.send(b"first")
    assert board.receive(host.transmit(0.0), 0.0) == [Received(b"first")]
    host.receive(board.transmit(0.0), 0.0)
    host.send(b"second")
    assert host.transmit(0.0) == b""
    timeout_ms = host.next_timeout_ms(0.0)
    assert timeout_ms is not None
    assert kinds(host.transmit(timeout_ms)) == [FrameKind.PING]
    assert host.transmit(timeout_ms) == b""
    board.busy = False
    answer = board.transmit(100.0)
    assert kinds(answer) == [FrameKind.ACK]
    host.receive(answer, 100.0)
    assert kinds(host.transmit(100.0)) == [FrameKind.DATA]


def test_ping_is_answered() -> None:
    host, board = opened()
    board.receive(frame(FrameKind.PING, host.connection), 1.0)
    assert kinds(board.transmit(1.0)) == [FrameKind.ACK]


@pytest.mark.parametrize("ack", [4, 100, 65535])
def test_an_impossible_ack_changes_nothing(ack: int) -> None:
    host, _ = opened(board=SMALL)
    for _ in range(3):
        host.send(bytes(100))
    host.transmit(1.0)
    host.receive(frame(FrameKind.ACK, host.connection, ack=ack, sack=0xFFFF, credit=0), 2.0)
    assert not host.idle
    host.send(bytes(100))
    assert kinds(host.transmit(2.0)) == [FrameKind.DATA]
    host.receive(frame(FrameKind.ACK, host.connection, ack=4, credit=1000), 3.0)
    assert host.idle


def test_a_later_arrival_shows_the_loss() -> None:
    host, board = opened(board=SMALL)
    for number in range(4):
        host.send(bytes([number]))
    sent = [encode_frame(header.encode() + payload) for header, payload in frames(host.transmit(1.0))]
    board.receive(sent[0] + sent[3], 2.0)
    host.receive(board.transmit(2.0), 2.0)
    again = frames(host.transmit(2.0))
    assert [header.seq for header, _ in again] == [1, 2]
    assert host.sent_again == 2
    # The repeats came after all else: nothing yet says that they are lost.
    assert host.transmit(2.0) == b""


def test_a_time_out_sends_the_oldest_again_and_doubles() -> None:
    host, _ = opened(board=SMALL)
    for number in range(3):
        host.send(bytes([number]))
    assert [header.seq for header, _ in frames(host.transmit(0.0))] == [0, 1, 2]
    now_ms, waits = 0.0, []
    for _ in range(12):
        wait_ms = host.next_timeout_ms(now_ms)
        assert wait_ms is not None
        assert host.transmit(now_ms + wait_ms - 1) == b""
        now_ms += wait_ms
        waits.append(wait_ms)
        if now_ms < 10_000:
            assert [header.seq for header, _ in frames(host.transmit(now_ms))] == [0]
    assert waits == [500.0, *[1000.0] * 9, 500.0, 0.0]  # at 10 s the link is dead


def test_round_trips_set_the_time_out_within_its_bounds() -> None:
    host, board = opened()
    now_ms = 0.0
    for round_trip_ms, least, most in ((2.0, 50.0, 50.0), (100.0, 100.0, 500.0), (9000.0, 1000.0, 1000.0)):
        for _ in range(30):
            host.send(b"x")
            board.receive(host.transmit(now_ms), now_ms)
            now_ms += round_trip_ms
            host.receive(board.transmit(now_ms), now_ms)
        host.send(b"x")
        data = host.transmit(now_ms)
        assert least <= (host.next_timeout_ms(now_ms) or 0.0) <= most
        board.receive(data, now_ms)
        host.receive(board.transmit(now_ms), now_ms)


def test_silence_ends_a_link_that_waits_and_no_other() -> None:
    host, board = opened()
    assert host.receive(b"", 60_000.0) == []
    assert host.next_timeout_ms(60_000.0) is None
    host.send(b"x")
    host.transmit(60_000.0)
    assert host.receive(b"", 60_000.0) == []
    assert host.receive(b"", 69_999.0) == []
    assert host.receive(b"", 70_000.0) == [Lost(LostReason.SILENT)]
    with pytest.raises(LinkLost, match="not open"):
        host.send(b"x")
    assert board.state is LinkState.OPEN


def test_connecting_to_nobody_ends() -> None:
    host = Link(Role.HOST, dead_ms=2000.0)
    host.connect(0.0)
    assert host.receive(b"", 0.0) == []
    assert host.receive(b"", 2000.0) == [Lost(LostReason.SILENT)]


def test_a_board_that_was_reset_is_noticed_while_an_answer_is_expected() -> None:
    host, _ = opened()
    host.expecting = True
    host.receive(b"", 0.0)
    assert host.next_timeout_ms(0.0) == 1000.0
    probe = host.transmit(1000.0)
    assert kinds(probe) == [FrameKind.PING]
    fresh = Link(Role.BOARD)
    fresh.receive(probe, 1001.0)
    assert host.receive(fresh.transmit(1001.0), 1002.0) == [Lost(LostReason.RESET)]


def test_sequence_numbers_wrap() -> None:
    host, board = opened()
    count = (1 << 16) + 100
    received = 0
    for start in range(0, count, 16):
        for number in range(start, min(start + 16, count)):
            host.send(number.to_bytes(3, "little"))
        now_ms = float(start)
        for event in board.receive(host.transmit(now_ms), now_ms):
            assert event == Received(received.to_bytes(3, "little"))
            received += 1
        host.receive(board.transmit(now_ms), now_ms)
    assert received == count
    assert host.idle


def test_what_cannot_be_sent_is_refused() -> None:
    host, board = opened(board=SMALL)
    for payload in (b"", bytes(129)):
        with pytest.raises(ValueError, match="1 to 128"):
            host.send(payload)
    with pytest.raises(ValueError, match="waits for SYN"):
        board.connect(0.0)
    with pytest.raises(LinkLost):
        Link(Role.BOARD).send(b"x")


@pytest.mark.parametrize(
    ("max_payload", "window_bytes", "window_frames"),
    [(127, 1000, 5), (4097, 65535, 5), (128, 145, 5), (128, 65536, 5), (128, 1000, 0), (128, 1000, 18)],
)
def test_parameters_have_limits(max_payload: int, window_bytes: int, window_frames: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Parameters(max_payload, window_bytes, window_frames)


def test_writing_in_parts_loses_nothing() -> None:
    host, board = opened()
    for _ in range(10):
        host.send(bytes(1000))
    parts = []
    while part := host.transmit(1.0, max_bytes=1500):
        assert len(part) <= 1500 + frame_bytes_max(1000)
        parts.append(part)
    assert len(parts) == 5
    assert len(board.receive(b"".join(parts), 2.0)) == 10
