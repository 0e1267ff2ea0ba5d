"""The host's session as a fuzz target: a board that says anything, a user who asks for anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from choices import Choices
from outcome import taken

from cutlayer_host.board_messages import (
    Activation,
    Applied,
    Cleared,
    Configured,
    DataRead,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.codes import ACTIVATION_CODECS, ErrorCode, Kind
from cutlayer_host.errors import LinkLost
from cutlayer_host.host_messages import Configure
from cutlayer_host.link import Link, LinkState, Received, Role
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.session import HostSession, Malformed
from cutlayer_host.smashed_data import SmashedData

if TYPE_CHECKING:
    from collections.abc import Callable

BOARD_MESSAGES: tuple[Message, ...] = (
    Configured(last_step=0),
    Applied(step=1, weights_crc=0),
    Cleared(last_step=0),
    Rescaled(zero_point=0, scale=0.5, last_step=0),
    DataRead(section=0, count=4, offset=0, total=4, data=bytes(4)),
    StatsAre.of(range(18)),
    Saved(step=1, saves=1, bytes=9),
    Restored(run=1, step=1, weights_crc=0),
    Provisioned(device_id=bytes(8)),
    Forgotten(),
    Piece(first=0, count=4, data=bytes(4)),
    Piece(first=4, count=4, data=bytes(4)),
    Error(about=3, code=-10),
    Error(about=4, code=-6),
    Error(about=16, code=-6),
)


def board_message(choices: Choices, session: HostSession) -> bytes:
    """Something that a board may say, mostly; the head of a sample is for the one asked for."""
    if choices.below(3) == 0:
        codec = session.configuration.activation_codec if session.configuration else 0
        payload = Activation(
            codec=codec,
            label=1,
            sample=7,
            count=8,
            scale=0.5,
            zero_point=0,
            activation_min=-128,
            activation_max=127,
            saturated=0,
            crc=0x6522DF69,
        ).encode()
    else:
        payload = choices.one_of(BOARD_MESSAGES).encode()
    if choices.below(6) == 0:
        at = choices.below(len(payload))
        payload = payload[:at] + choices.take(1) + payload[at + 1 :]
    if choices.below(30) == 0:
        payload = choices.take(1 + choices.below(60))
    return payload


def ask(choices: Choices, session: HostSession, smashed: SmashedData | None) -> None:
    """One request, of those that the state takes and of others."""
    adam = {"optimizer": 1, "momentum": 0.9, "beta2": 0.999, "epsilon": 1e-7}
    requests: list[Callable[[], None]] = [
        lambda: session.configure(Configure(activation_codec=choices.one_of(ACTIVATION_CODECS), **adam)),
        lambda: session.sample(7, 0, train=True),
        lambda: session.sample(7, 0, train=False),
        lambda: session.apply(1, 1, 0.1),
        session.clear,
        lambda: session.rescale(0.5, 0),
        lambda: session.save(1),
        lambda: session.restore(1, 1),
        lambda: session.read(0, 0),
        session.stats,
    ]
    if smashed is not None:
        requests.append(lambda: session.gradient(smashed, np.zeros(smashed.values.size, np.int8), 0.1))
    try:
        _, code = taken(choices.one_of(requests))
    except LinkLost:
        assert session.link.state is not LinkState.OPEN
    else:
        assert code in (0, ErrorCode.STATE)


def welcome() -> bytes:
    return Welcome(
        firmware_version=(0, 1, 0),
        flags=1,
        optimizers=3,
        codecs=23,
        model_id=bytes(32),
        board="fuzz",
        last_step=0,
        recordings=8,
        smashed_count=8,
        weight_count=8,
        channel_count=2,
        output_scale=0.5,
        output_zero_point=0,
        arena_bytes=0,
        train_bytes=0,
        cut_count=1,
    ).encode()


def session(data: bytes) -> None:
    """The host's session against a board that says anything, over a clean link."""
    choices = Choices(data)
    host, board = HostSession(rng=choices.noise), Link(Role.BOARD)
    host.connect(0.0)
    smashed: SmashedData | None = None
    failed, now_ms = False, 0.0
    while choices:
        events = host.receive(board.transmit(now_ms), now_ms)
        assert not (failed and events), "nothing comes of a connection that failed"
        failed = failed or any(isinstance(event, Malformed) for event in events)
        smashed = next((event for event in events if isinstance(event, SmashedData)), smashed)
        for event in board.receive(host.transmit(now_ms), now_ms):
            if isinstance(event, Received) and event.payload[0] == Kind.HELLO and choices.below(20):
                board.send(welcome())
        ask(choices, host, smashed)
        if board.state is LinkState.OPEN and choices.below(2):
            board.send(board_message(choices, host))
        if failed and choices.below(4) == 0:
            host.connect(now_ms)
            failed = False
        now_ms += 1
