"""The windows of the link in C: order, acknowledgements, credit, and what is sent again when."""

from __future__ import annotations

from core_link import (
    ACK,
    DATA,
    ERROR_MEMORY,
    LOST,
    PING,
    SYN,
    WINDOW_BYTES,
    Frame,
    Link,
    connected,
    data,
    parameters,
)


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
