"""The host's session against a board that a test plays by hand."""

from __future__ import annotations

import time
import zlib
from typing import Any

import numpy as np
import pytest
from played_session import VALUES, WELCOME, Played

from cutlayer_host import tensors
from cutlayer_host.board_messages import (
    Activation,
    Applied,
    Cleared,
    DataRead,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    Saved,
    StatsAre,
)
from cutlayer_host.codes import ACTIVATION_CODECS, GRADIENT_CODECS, LIVE_RECORDING, ErrorCode, Mode, Section
from cutlayer_host.errors import LinkLost, ProtocolError
from cutlayer_host.host_messages import (
    Apply,
    Clear,
    Forget,
    Gradient,
    Hello,
    Provision,
    Read,
    Rescale,
    Restore,
    Sample,
    Save,
    Stats,
)
from cutlayer_host.link import Link, Lost, LostReason, Role
from cutlayer_host.message import Piece
from cutlayer_host.session import HostSession
from cutlayer_host.session_state import Request, SessionState


def test_a_connection_greets_by_itself() -> None:
    played = Played()
    assert played.asked_since() == [Hello()]
    assert played.session.waiting
    assert played.tell(WELCOME) == [WELCOME]
    assert played.session.welcome == WELCOME
    assert played.session.state is SessionState.GREETED
    assert not played.session.waiting


def test_a_step_end_to_end() -> None:
    played = Played()
    smashed = played.awaiting(VALUES)
    assert (smashed.sample, smashed.label, smashed.scale, smashed.saturated) == (1, 4, 0.5, 1)
    assert np.array_equal(smashed.values, VALUES)
    assert smashed.masked.tolist() == [True, False, True, True, False, True, False, False]
    assert played.session.state is SessionState.AWAITING
    gradient = np.arange(8).astype(np.int8)
    played.session.gradient(smashed, gradient, 0.25)
    played.session.apply(1, 1, 0.125)
    played.session.sample(2, 6, train=True)
    assert played.session.state is SessionState.AWAITING
    played.exchange()
    head, piece, apply, sample = played.asked_since()
    assert head == Gradient(sample=1, count=8, scale=0.25)
    assert piece == Piece(first=0, count=8, data=bytes([1, 4, 6, 7]))
    assert apply == Apply(step=1, samples=1, learning_rate=0.125)
    assert sample == Sample(sample=2, recording=6, mode=Mode.TRAIN)
    applied = Applied(step=1, weights_crc=99, saturated=1)
    assert played.tell(applied) == [applied]
    (second,) = played.smashed(2, VALUES)
    assert second.sample == 2
    assert not played.session.waiting


@pytest.mark.parametrize("codec", ACTIVATION_CODECS)
def test_smashed_data_comes_in_pieces_under_every_codec(codec: int) -> None:
    played = Played()
    values = np.random.default_rng(1).integers(-128, 128, 4000).astype(np.int8)
    values[::2] = -128
    smashed = played.awaiting(values, activation_codec=codec)
    assert np.array_equal(smashed.values, tensors.as_sent(values, codec))


@pytest.mark.parametrize("codec", GRADIENT_CODECS)
def test_gradients_are_sent_under_every_codec(codec: int) -> None:
    played = Played(max_payload=128)
    values = np.random.default_rng(1).integers(-128, 128, 4000).astype(np.int8)
    smashed = played.awaiting(values, activation_codec=1, gradient_codec=codec)
    limit = tensors.GRADIENT_LIMITS[codec]
    g = np.random.default_rng(2).integers(-limit, limit, 4000, endpoint=True).astype(np.int8)
    played.session.gradient(smashed, g, 1.0)
    played.exchange()
    _, *pieces = played.asked_since()
    received = [
        tensors.gradient_values(piece.data, smashed.masked[piece.first : piece.first + piece.count], codec)
        for piece in pieces
        if isinstance(piece, Piece)
    ]
    assert np.array_equal(np.concatenate(received), np.where(smashed.masked, 0, g))


ANSWERED = {
    "clear": (lambda session: session.clear(), Clear(), Cleared(last_step=3)),
    "rescale": (
        lambda session: session.rescale(0.25, -7),
        Rescale(scale=0.25, zero_point=-7),
        Rescaled(scale=0.25, zero_point=-7, last_step=3),
    ),
    "read": (
        lambda session: session.read(Section.BIAS, 12),
        Read(section=1, offset=12, count=4084),
        DataRead(section=1, count=3, offset=12, total=15, data=b"abc"),
    ),
    "stats": (lambda session: session.stats(), Stats(), StatsAre.of(range(18))),
    "save": (lambda session: session.save(3), Save(step=3), Saved(step=3, saves=9, bytes=500)),
    "restore": (
        lambda session: session.restore(77, 3),
        Restore(run=77, step=3),
        Restored(run=77, step=3, weights_crc=1),
    ),
    "provision": (
        lambda session: session.provision(bytes(8), bytes(32)),
        Provision(device_id=bytes(8), key=bytes(32)),
        Provisioned(device_id=bytes(8)),
    ),
    "forget": (lambda session: session.forget(), Forget(), Forgotten()),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_requests_and_their_answers(name: str) -> None:
    ask, question, answer = ANSWERED[name]
    played = Played()
    played.ready()
    ask(played.session)
    played.exchange()
    assert played.asked_since() == [question]
    assert played.tell(answer) == [answer]
    after = SessionState.GREETED if name == "restore" else SessionState.READY
    assert played.session.state is after


def test_inference_awaits_no_gradient() -> None:
    played = Played()
    played.ready()
    played.session.sample(1, train=False)
    played.exchange()
    assert played.asked_since() == [Sample(mode=Mode.INFER, sample=1, recording=LIVE_RECORDING)]
    (smashed,) = played.smashed(1, VALUES)
    assert played.session.state is SessionState.READY
    with pytest.raises(ProtocolError, match="GRADIENT cannot be sent in state READY"):
        played.session.gradient(smashed, VALUES, 1.0)


def test_each_state_takes_what_the_specification_says() -> None:
    # By hand from SPEC.md, section 3.2, where messages wait in CAPTURING and SENDING.
    taken = {
        SessionState.CLOSED: "",
        SessionState.CONNECTED: "HELLO",
        SessionState.GREETED: "HELLO CONFIGURE READ STATS RESTORE PROVISION FORGET",
        SessionState.READY: "HELLO CONFIGURE TRAIN INFER APPLY CLEAR RESCALE READ STATS "
        "SAVE RESTORE PROVISION FORGET",
        SessionState.AWAITING: "HELLO CONFIGURE TRAIN INFER GRADIENT CLEAR READ STATS RESTORE",
    }
    played = Played()
    for state, names in taken.items():
        for request in Request:
            played.session._reset()
            played.session._settled = state
            if request.name in names.split():
                played.session._request(request, Stats())
            else:
                with pytest.raises(
                    ProtocolError, match=f"{request.kind.name} cannot be sent in state"
                ) as caught:
                    played.session._request(request, Stats())
                assert caught.value.code == ErrorCode.STATE


def test_without_a_connection_nothing_is_sent() -> None:
    session = HostSession()
    with pytest.raises(ProtocolError, match="CLOSED"):
        session.stats()
    played = Played()
    played.ready()
    played.session.link._drop_connection(0.0)
    with pytest.raises(LinkLost):
        played.session.stats()


def test_a_lost_link_is_told_and_forgets_what_was_asked() -> None:
    played = Played()
    played.ready()
    played.session.stats()
    played.exchange()
    fresh = Link(Role.BOARD)
    probe = played.session.transmit(played.now_ms + 1000.0)
    fresh.receive(probe, played.now_ms)
    events = played.session.receive(fresh.transmit(played.now_ms), played.now_ms)
    assert events == [Lost(LostReason.RESET)]
    assert played.session.state is SessionState.CLOSED
    assert not played.session.waiting


def test_a_board_that_never_answers_is_missed_only_when_it_is_silent() -> None:
    played = Played()
    played.ready()
    played.session.stats()
    played.exchange()
    for _ in range(30):
        played.now_ms += 1000.0
        assert played.exchange() == []
    # From here on the board is gone.
    played.session.transmit(played.now_ms + 5_000.0)
    assert played.session.receive(b"", played.now_ms + 11_000.0) == [Lost(LostReason.SILENT)]


def test_a_gradient_must_fit() -> None:
    played = Played()
    smashed = played.awaiting(VALUES, gradient_codec=1)
    with pytest.raises(ValueError, match="has 7 elements"):
        played.session.gradient(smashed, np.zeros(7, np.int8), 1.0)
    with pytest.raises(ValueError, match="takes"):
        played.session.gradient(smashed, np.full(8, 9, np.int8), 1.0)
    with pytest.raises(ProtocolError, match=r"GRADIENT\.scale"):
        played.session.gradient(smashed, np.zeros(8, np.int8), float("nan"))
    # Nothing was sent of any of them.
    assert played.session.state is SessionState.AWAITING
    played.session.gradient(smashed, np.zeros((2, 4), np.int8), 1.0)
    played.exchange()
    assert len(played.asked_since()) == 2


def test_the_hosts_own_time_of_a_step() -> None:
    """Link, session and codec, 8 kB up and 4 kB down. All of the host has 2 ms beyond TensorFlow."""
    values = np.random.default_rng(1).integers(-127, 127, 8192).astype(np.int8)
    values[::2] = -128
    gradient = np.ones(8192, np.int8)
    played = Played()
    played.ready()
    pieces = [piece.encode() for piece in tensors.activation_pieces(values, 0, -128, 952)]
    seconds = []
    for number in range(1, 30):
        spent = 0.0

        def timed(call: Any, *arguments: Any) -> Any:
            nonlocal spent
            start = time.process_time()
            result = call(*arguments)
            spent += time.process_time() - start
            return result

        def exchange() -> list[Any]:
            events: list[Any] = []
            while True:
                played.now_ms += 1.0
                down = timed(played.session.transmit, played.now_ms)
                played.board.receive(down, played.now_ms)
                up = played.board.transmit(played.now_ms)
                events += timed(played.session.receive, up, played.now_ms)
                if not down and not up:
                    return events

        timed(lambda number=number: played.session.sample(number, train=True))
        exchange()
        head = Activation(sample=number, count=8192, scale=1.0, zero_point=0, crc=zlib.crc32(values.data))
        for payload in (head.encode(), *pieces):
            played.board.send(payload)
        (smashed,) = exchange()
        timed(played.session.gradient, smashed, gradient, 1.0)
        timed(played.session.apply, number, 1, 0.5)
        exchange()
        played.board.send(Applied(step=number, weights_crc=0).encode())
        assert exchange() == [Applied(step=number, weights_crc=0)]
        seconds.append(spent)
    assert min(seconds) < 0.0015
