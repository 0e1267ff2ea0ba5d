"""Refusals in the host's session: the board's, which it tells, and its own, which end it."""

from __future__ import annotations

import random
import zlib

import pytest
from played_session import VALUES, WELCOME, Played

from cutlayer_host.board_messages import Activation, Cleared, StatsAre
from cutlayer_host.codes import ErrorCode, Kind
from cutlayer_host.host_messages import Clear, Configure
from cutlayer_host.message import Error, Piece
from cutlayer_host.messages import MESSAGES
from cutlayer_host.session import Malformed, Refused
from cutlayer_host.session_state import SessionState


@pytest.mark.parametrize(
    ("request_", "error", "after"),
    [
        ("configure", Error(about=Kind.CONFIGURE, code=-6), SessionState.READY),
        ("sample", Error(about=Kind.SAMPLE, code=-10), SessionState.READY),
        ("sample", Error(about=Kind.SAMPLE, code=-300), SessionState.READY),
        ("apply", Error(about=Kind.APPLY, code=-9, detail=3), SessionState.READY),
    ],
)
def test_a_refusal_is_told_and_the_state_stays(request_: str, error: Error, after: SessionState) -> None:
    played = Played()
    played.ready()
    asking = {
        "configure": lambda: played.session.configure(Configure(cut=9)),
        "sample": lambda: played.session.sample(1, 99, train=True),
        "apply": lambda: played.session.apply(1, 1, 0.5),
    }
    asking[request_]()
    played.exchange()
    assert played.tell(error) == [Refused(error.about, error.code, error.detail)]
    assert played.session.state is after
    assert not played.session.waiting
    played.session.stats()


@pytest.mark.parametrize("code", [ErrorCode.STATE, ErrorCode.VALUE, ErrorCode.LENGTH])
def test_a_sample_refused_unread_leaves_the_one_before(code: ErrorCode) -> None:
    played = Played()
    played.awaiting(VALUES)
    played.session.sample(2, train=True)
    played.exchange()
    played.tell(Error(about=Kind.SAMPLE, code=code))
    assert played.session.state is SessionState.AWAITING


@pytest.mark.parametrize(
    ("about", "after"), [(Kind.GRADIENT, SessionState.AWAITING), (Kind.PIECE, SessionState.READY)]
)
def test_a_refused_gradient_is_told_once(about: Kind, after: SessionState) -> None:
    played = Played()
    smashed = played.awaiting(VALUES)
    played.session.gradient(smashed, VALUES // 2, 1.0)
    played.exchange()
    refusal = Error(about=about, code=ErrorCode.VALUE)
    late = Error(about=Kind.PIECE, code=ErrorCode.STATE)
    assert played.tell(refusal, late, late) == [Refused(about, ErrorCode.VALUE, 0)]
    assert played.session.state is after
    played.session.clear()
    played.exchange()
    assert played.tell(Cleared(last_step=0)) == [Cleared(last_step=0)]
    assert played.session.state is SessionState.READY


def test_what_was_asked_behind_a_refusal_is_answered_in_turn() -> None:
    played = Played()
    smashed = played.awaiting(VALUES)
    played.session.gradient(smashed, VALUES // 2, 1.0)
    played.session.apply(1, 1, 0.5)
    played.session.stats()
    played.exchange()
    stats = StatsAre.of([1])
    events = played.tell(Error(about=Kind.PIECE, code=-6), Error(about=Kind.APPLY, code=-9), stats)
    assert events == [Refused(Kind.PIECE, -6, 0), Refused(Kind.APPLY, -9, 0), stats]
    assert played.session.state is SessionState.READY


HEAD = Activation(sample=1, count=4, scale=1.0, zero_point=0, crc=zlib.crc32(bytes(4)))
PIECE = Piece(first=0, count=2, data=bytes([128, 128]))
BAD_ANSWERS = {
    "unknown kind": ([b"\x55abc"], ErrorCode.KIND, 0x55),
    "wrong length": ([Cleared(last_step=1).encode()[:-1]], ErrorCode.LENGTH, Kind.CLEARED),
    "nothing was asked": ([Cleared(last_step=1)], ErrorCode.STATE, Kind.CLEARED),
    "a message of the host": ([Clear()], ErrorCode.STATE, Kind.CLEAR),
    "a piece without its head": ([PIECE], ErrorCode.STATE, Kind.PIECE),
    "another sample": (
        [Activation(sample=2, count=4, scale=1.0, zero_point=0, crc=0)],
        ErrorCode.VALUE,
        Kind.ACTIVATION,
    ),
    "another codec": (
        [Activation(sample=1, codec=1, count=4, scale=1.0, zero_point=0, crc=0)],
        ErrorCode.VALUE,
        Kind.ACTIVATION,
    ),
    "a gap": ([HEAD, PIECE, Piece(first=3, count=1, data=b"a")], ErrorCode.VALUE, Kind.PIECE),
    "a repeat": ([HEAD, PIECE, PIECE], ErrorCode.VALUE, Kind.PIECE),
    "beyond the end": ([HEAD, Piece(first=0, count=5, data=bytes(5))], ErrorCode.VALUE, Kind.PIECE),
    "a piece of another length": ([HEAD, Piece(first=0, count=2, data=b"a")], ErrorCode.LENGTH, Kind.PIECE),
    "another head amid pieces": ([HEAD, PIECE, HEAD], ErrorCode.STATE, Kind.ACTIVATION),
    "an error amid pieces": ([HEAD, PIECE, Error(about=3, code=-7)], ErrorCode.STATE, Kind.ERROR),
    "another check": ([HEAD, Piece(first=0, count=4, data=b"abcd")], ErrorCode.VALUE, Kind.ACTIVATION),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_what_a_board_may_not_send_ends_the_session(name: str) -> None:
    said, code, about = BAD_ANSWERS[name]
    played = Played()
    played.ready()
    played.session.sample(1, train=True)
    played.exchange()
    played.asked_since()
    (event,) = played.tell(*said)
    assert isinstance(event, Malformed)
    assert (event.error.code, event.error.about) == (code, about)
    assert played.asked_since() == [Error(about=about, code=code)]
    # Nothing more is taken, until the host connects anew.
    assert played.tell(HEAD, PIECE) == []
    played.session.connect(played.now_ms)
    assert played.exchange() == []
    assert played.tell(WELCOME) == [WELCOME]


def test_random_messages_never_raise() -> None:
    rng = random.Random(1)
    malformed = 0
    for _ in range(300):
        played = Played()
        played.tell(WELCOME)
        played.session.configure(Configure())
        played.exchange()
        for _ in range(20):
            kind = rng.choice([*Kind, 0x44])
            size = MESSAGES[kind].LAYOUT.size if kind in MESSAGES else 5
            payload = bytes([kind]) + bytes(rng.choice((0, 1, 4, 127, 255)) for _ in range(size - 1))
            events = played.tell(payload)
            malformed += any(isinstance(event, Malformed) for event in events)
            if SessionState.READY is played.session.state and played.session.link.idle:
                played.session.sample(rng.choice((0, 1)), train=True)
    assert malformed == 300
