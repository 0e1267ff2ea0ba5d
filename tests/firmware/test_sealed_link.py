"""Sealed connections (SPEC.md, section 2.6): Python and C in either role, with strangers on the line."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from lines import DEVICE_ID, FAULTS, KEY, Inbox, Pair, board_end, host_end

from cutlayer_boards.spec import board
from cutlayer_host.bench_link import board_parameters
from cutlayer_host.body import FrameKind, Header, Parameters
from cutlayer_host.guard import COUNTER_END, SYN_ACK_BYTES, SYN_BYTES, HostGuard, Security
from cutlayer_host.link import Link, LinkState, LostReason, Role
from cutlayer_host.wire import HEADER_BYTES, SEAL_BYTES, FrameDecoder, encode_frame

if TYPE_CHECKING:
    from cutlayer_host.line import Faults

KINDS = ("python", "firmware")
ENDS = [(host, board) for host in KINDS for board in KINDS]
NODE = board_parameters(board("qemu_mps2_an386"), sealed=True)
SMALL = Parameters(max_payload=128, window_bytes=300, window_frames=2)
OTHER_KEY = bytes(32)

every_fault = pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
every_pair = pytest.mark.parametrize(("host", "board"), ENDS, ids=["-".join(pair) for pair in ENDS])
every_board = pytest.mark.parametrize("board", KINDS)


class Talk:
    """A host and a board whose bytes go through here: `to_board` and `to_host` hold every body that went."""

    def __init__(
        self, host: str = "python", board: str = "python", *, host_key: Any = KEY, board_key: Any = KEY
    ) -> None:
        self.host, self.board = host_end(host, NODE, key=host_key), board_end(board, NODE, key=board_key)
        self.host_inbox, self.board_inbox = Inbox(), Inbox()
        self.to_board: list[bytes] = []
        self.to_host: list[bytes] = []
        self.now_ms = 0.0

    def connect(self) -> None:
        if isinstance(self.host, Link):
            self.host.connect(self.now_ms)
        else:
            self.host.connect(self.now_ms, self.host.state.connection % 1000 + 1)
        self.pump()

    def pump(self, wait_ms: float = 10.0) -> None:
        """Carries bytes until nothing goes any more; then `wait_ms` pass."""
        for _ in range(50):
            down, up = self.host.transmit(self.now_ms), self.board.transmit(self.now_ms)
            self.to_board += FrameDecoder().receive(down)
            self.to_host += FrameDecoder().receive(up)
            self.give_board(down)
            self.give_host(up)
            if not down and not up:
                break
        self.now_ms += wait_ms

    def give_board(self, data: bytes) -> None:
        for event in self.board.receive(data, self.now_ms):
            self.board_inbox(event)

    def give_host(self, data: bytes) -> None:
        for event in self.host.receive(data, self.now_ms):
            self.host_inbox(event)

    def board_answers(self, *bodies: bytes) -> list[bytes]:
        """What the board says to a stranger."""
        self.give_board(b"".join(map(encode_frame, bodies)))
        return FrameDecoder().receive(self.board.transmit(self.now_ms))

    def check_works(self) -> None:
        """A message each way, on the connection that there is."""
        for inbox in (self.host_inbox, self.board_inbox):
            inbox.payloads.clear()
        self.host.send(b"question")
        self.board.send(b"answer")
        self.pump()
        assert (self.board_inbox.payloads, self.host_inbox.payloads) == ([b"question"], [b"answer"])

    @property
    def opened(self) -> tuple[int, int]:
        return self.host_inbox.connected, self.board_inbox.connected

    @property
    def reasons(self) -> list[LostReason]:
        return [lost.reason for lost in self.host_inbox.lost]


def connected(**options: Any) -> Talk:
    talk = Talk(**options)
    talk.connect()
    assert talk.opened == (1, 1)
    talk.check_works()
    return talk


def renumbered(body: bytes, connection: int) -> bytes:
    return body[:2] + connection.to_bytes(2, "little") + body[4:]


def syn(connection: int, rest: bytes, security: Security = Security.SEALED) -> bytes:
    return Header(FrameKind.SYN, connection, credit=0).encode() + NODE.encode(security) + rest


@every_fault
@every_pair
@pytest.mark.parametrize("parameters", [NODE, SMALL], ids=["node", "small"])
def test_messages_arrive_in_order_and_once(
    faults: Faults, host: str, board: str, parameters: Parameters
) -> None:
    for seed in range(2):
        pair = Pair(host, board, faults, parameters=parameters, seed=seed, key=KEY)
        pair.connect()
        rng = random.Random(seed)
        down, up = (
            [rng.randbytes(rng.choice((1, 8, parameters.max_payload))) for _ in range(60)] for _ in range(2)
        )
        pair.send(down, [])
        pair.line.run(lambda pair=pair: pair.board_inbox.connected == 1, 60_000.0)
        pair.send([], up)
        pair.settle()
        assert pair.host_inbox.payloads == up
        assert pair.board_inbox.payloads == down
        assert pair.host_inbox.lost == pair.board_inbox.lost == []


@every_fault
@every_pair
def test_a_new_connection_starts_afresh(faults: Faults, host: str, board: str) -> None:
    pair = Pair(host, board, faults, parameters=NODE, seed=7, key=KEY)
    for turn in range(3):
        pair.connect()
        pair.board_inbox.payloads.clear()
        down = [bytes([turn]) * NODE.max_payload] * 6
        pair.send(down, [])
        pair.line.run(lambda wanted=2 if turn < 2 else 6: len(pair.board_inbox.payloads) >= wanted, 1e6)
    assert pair.board_inbox.payloads == down


@every_pair
def test_no_payload_crosses_in_the_clear(host: str, board: str) -> None:
    talk = connected(host=host, board=board)
    secret = b"a secret of sixteen bytes, or more"
    talk.host.send(secret)
    talk.board.send(secret)
    talk.pump()
    assert (talk.board_inbox.payloads[-1], talk.host_inbox.payloads[-1]) == (secret, secret)
    sent = b"".join(talk.to_board + talk.to_host)
    assert not any(secret[i : i + 4] in sent for i in range(len(secret) - 3))


@every_pair
def test_old_frames_are_refused(host: str, board: str) -> None:
    talk = connected(host=host, board=board)
    for number in range(70):
        talk.host.send(bytes([number]))
        talk.board.send(bytes([number]))
        talk.pump()
    before = len(talk.board_inbox.payloads), len(talk.host_inbox.payloads)
    sealed = [body for body in talk.to_board if body[0] > FrameKind.SYN_ACK]
    assert talk.board_answers(*sealed) == []
    talk.give_host(b"".join(encode_frame(body) for body in talk.to_host if body[0] > FrameKind.SYN_ACK))
    assert talk.host.transmit(talk.now_ms) == b""
    assert (len(talk.board_inbox.payloads), len(talk.host_inbox.payloads)) == before
    again = talk.board.seal.again if board == "python" else talk.board.state.frames_again
    assert again == len(sealed)
    talk.check_works()


@every_pair
def test_frames_of_another_connection_are_refused(host: str, board: str) -> None:
    talk = connected(host=host, board=board)
    old_down, old_up = list(talk.to_board), list(talk.to_host)
    talk.connect()
    assert talk.opened == (2, 2)
    number = talk.to_board[-1][2] | talk.to_board[-1][3] << 8
    sealed = [body for body in old_down if body[0] > FrameKind.SYN_ACK]
    assert {body[0] for body in talk.board_answers(*sealed)} == {FrameKind.RESET}
    assert talk.board_answers(*(renumbered(body, number) for body in sealed)) == []
    talk.give_host(b"".join(encode_frame(renumbered(body, number)) for body in old_up))
    assert len(talk.host_inbox.lost) == 0
    talk.check_works()


@every_pair
def test_no_bit_of_a_frame_can_be_changed(host: str, board: str) -> None:
    talk = connected(host=host, board=board)
    talk.host.send(b"good")
    talk.board.send(b"good")
    ends = (talk.host, talk.give_board, talk.board_inbox), (talk.board, talk.give_host, talk.host_inbox)
    for end, give, inbox in ends:
        bodies = FrameDecoder().receive(end.transmit(talk.now_ms))
        (frame,) = (body for body in bodies if body[0] == FrameKind.DATA)
        inbox.payloads.clear()
        for place in range(len(frame)):
            for bit in range(8):
                changed = bytearray(frame)
                changed[place] ^= 1 << bit
                if changed[0] not in (FrameKind.SYN, FrameKind.RESET):
                    give(encode_frame(bytes(changed)))
        assert inbox.payloads == []
        give(encode_frame(frame))
        assert inbox.payloads == [b"good"]
    talk.check_works()


@every_board
def test_truncated_syn_opens_nothing(board: str) -> None:
    for length in range(SYN_BYTES - 8):
        talk = Talk(board=board)
        (answer,) = talk.board_answers(syn(5, bytes(length)))
        assert answer[0] == FrameKind.SYN_ACK
        assert answer[HEADER_BYTES:] == NODE.encode(Security.SEALED)
        assert talk.opened == (0, 0)


@every_pair
def test_damaged_syn_ack_opens_nothing(host: str, board: str) -> None:
    """Each byte of it changed, and each shorter one; then comes the board's own."""
    talk = Talk(host, board)
    talk.host.connect(0.0, *([] if host == "python" else [9]))
    (opening,) = FrameDecoder().receive(talk.host.transmit(0.0))
    (answer,) = talk.board_answers(opening)
    assert len(answer) == HEADER_BYTES + SYN_ACK_BYTES
    for place in range(HEADER_BYTES + 1, len(answer)):
        changed = bytearray(answer)
        changed[place] ^= 0x10
        talk.give_host(encode_frame(bytes(changed)) + encode_frame(answer[:place]))
        assert talk.opened == (0, 0)
    talk.give_host(encode_frame(answer))
    talk.pump()
    assert talk.opened == (1, 1)
    talk.check_works()


@every_pair
def test_a_connection_survives_a_strangers_syn(host: str, board: str) -> None:
    talk = connected(host=host, board=board)
    number = talk.to_board[-1][2] | talk.to_board[-1][3] << 8
    strangers = [syn(connection, bytes(24)) for connection in (number, number + 1)]
    strangers += [talk.to_board[0], syn(number, b"", Security.PLAIN), syn(number + 2, b"", Security.PLAIN)]
    for stranger in strangers:
        answers = talk.board_answers(stranger)
        assert [body[0] for body in answers] == [FrameKind.SYN_ACK]
        talk.give_host(encode_frame(answers[0]))
        talk.host.transmit(talk.now_ms)
        for kind in (FrameKind.DATA, FrameKind.ACK, FrameKind.PING):
            guess = Header(kind, number).encode() + bytes(SEAL_BYTES + 1)
            assert talk.board_answers(guess, guess[:-1], guess[:HEADER_BYTES]) == []
        talk.check_works()
    assert talk.opened == (1, 1)
    assert talk.host_inbox.lost == talk.board_inbox.lost == []


@every_pair
def test_a_strangers_syn_amid_a_handshake_costs_at_most_a_reconnection(host: str, board: str) -> None:
    talk = Talk(host, board)
    talk.host.connect(0.0, *([] if host == "python" else [9]))
    (opening,) = FrameDecoder().receive(talk.host.transmit(0.0))
    (answer,) = talk.board_answers(opening)
    number = int.from_bytes(opening[2:4], "little")
    wide = Parameters(max_payload=4096).encode(Security.SEALED)
    stranger = Header(FrameKind.SYN, number).encode() + wide + bytes(24)
    talk.give_board(encode_frame(stranger))
    talk.give_host(encode_frame(answer))
    talk.pump()
    if talk.opened != (1, 1) or talk.host_inbox.lost:
        talk.connect()
    talk.check_works()


@every_board
@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({DEVICE_ID: OTHER_KEY}, LostReason.UNPROVED),
        ({bytes(8): KEY}, LostReason.UNKNOWN),
        ({}, LostReason.UNKNOWN),
    ],
    ids=["another board's key", "another device's key", "no key"],
)
def test_a_board_without_the_key_is_refused(board: str, keys: dict[bytes, bytes], reason: LostReason) -> None:
    talk = Talk(board=board)
    talk.host = Link(Role.HOST, guard=HostGuard(keys.get))
    talk.connect()
    while not talk.host_inbox.lost:
        talk.pump(500.0)
    assert talk.reasons == [reason]
    assert talk.now_ms <= 2500.0
    assert talk.opened == (0, 0)
    assert talk.host.state is LinkState.CLOSED


@every_board
def test_a_firmware_host_without_the_key_does_not_connect(board: str) -> None:
    talk = Talk("firmware", board, host_key=OTHER_KEY)
    talk.connect()
    for _ in range(25):
        talk.pump(500.0)
    assert talk.opened == (0, 0)


@every_board
@pytest.mark.parametrize(
    ("host_key", "board_key", "reason"),
    [(KEY, None, LostReason.UNKEYED), (None, KEY, LostReason.SEALED)],
    ids=["plain board", "plain host"],
)
def test_there_is_no_way_back_to_plain(
    board: str, host_key: bytes | None, board_key: bytes | None, reason: LostReason
) -> None:
    talk = Talk(board=board, host_key=host_key, board_key=board_key)
    talk.connect()
    for _ in range(4):
        talk.pump(500.0)
    assert talk.reasons == [reason]
    assert talk.opened == (0, 0)


@every_pair
def test_plain_frames_on_a_sealed_connection(host: str, board: str) -> None:
    talk = connected(host=host, board=board)
    number = talk.to_board[-1][2] | talk.to_board[-1][3] << 8
    for kind, payload in ((FrameKind.DATA, b"obey"), (FrameKind.ACK, b""), (FrameKind.PING, b"")):
        body = Header(kind, number, seq=1, ack=1).encode() + payload
        assert talk.board_answers(body) == []
        talk.give_host(encode_frame(body))
    reset = Header(FrameKind.RESET, number).encode()
    assert talk.board_answers(reset) == []
    talk.check_works()
    assert talk.host_inbox.lost == talk.board_inbox.lost == []
    # The one thing that a stranger can do: the host connects anew.
    talk.give_host(encode_frame(reset))
    assert talk.reasons == [LostReason.RESET]
    talk.connect()
    assert talk.opened == (2, 2)
    talk.check_works()


@every_pair
def test_a_board_that_was_reset_is_noticed(host: str, board: str) -> None:
    talk = connected(host=host, board=board)
    talk.board = board_end(board, NODE, seed=5, key=KEY)
    talk.host.send(b"are you there?")
    talk.pump()
    assert talk.reasons == [LostReason.RESET]
    talk.connect()
    talk.check_works()


def test_the_counters_end_ends_the_connection() -> None:
    for name in ("host", "board"):
        talk = connected()
        getattr(talk, name).seal.sent = COUNTER_END - 2
        for number in range(3):
            getattr(talk, name).send(bytes([number]))
            talk.pump()
        talk.pump()
        # A board that has none left answers the host's next frame with RESET.
        talk.pump(2000.0)
        talk.host.expecting = True
        talk.pump(2000.0)
        talk.pump()
        assert talk.reasons == [LostReason.SPENT if name == "host" else LostReason.RESET]
        talk.connect()
        talk.check_works()
