"""The host's session, and a board that a test plays by hand."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_host import tensors
from cutlayer_host.board_messages import Activation, Configured, Welcome
from cutlayer_host.body import Parameters
from cutlayer_host.host_messages import Configure
from cutlayer_host.link import Link, Received, Role
from cutlayer_host.messages import decode
from cutlayer_host.session import HostSession
from cutlayer_host.smashed_data import SmashedData

if TYPE_CHECKING:
    from cutlayer_host.message import Message

WELCOME = Welcome(board="played", smashed_count=8, cut_count=2, output_scale=0.5, output_zero_point=-128)
VALUES = np.array([-128, 5, -128, 127, 3, -128, 77, -1], np.int8)


class Played:
    """A session, and a board whose messages the test makes up."""

    def __init__(self, *, max_payload: int = 952) -> None:
        self.session = HostSession(rng=random.Random(1))
        self.board = Link(Role.BOARD, Parameters(max_payload, 3916, 4))
        self.now_ms = 0.0
        self.asked: list[Message] = []
        self.session.connect(0.0)
        self.exchange()

    def exchange(self) -> list[Any]:
        """Carries bytes until both sides are still. Returns the session's events."""
        events: list[Any] = []
        while True:
            self.now_ms += 1.0
            down = self.session.transmit(self.now_ms)
            for event in self.board.receive(down, self.now_ms):
                if isinstance(event, Received):
                    self.asked.append(decode(event.payload))
            up = self.board.transmit(self.now_ms)
            events += self.session.receive(up, self.now_ms)
            if not down and not up:
                return events

    def tell(self, *messages: Message | bytes) -> list[Any]:
        for message in messages:
            self.board.send(message if isinstance(message, bytes) else message.encode())
        return self.exchange()

    def asked_since(self) -> list[Message]:
        asked, self.asked = self.asked, []
        return asked

    def ready(self, **configuration: Any) -> None:
        self.tell(WELCOME)
        self.session.configure(Configure(**configuration))
        self.exchange()
        assert self.tell(Configured(last_step=0)) == [Configured(last_step=0)]
        self.asked_since()

    def smashed(self, sample: int, values: np.ndarray, codec: int = 0, **fields: Any) -> list[Any]:
        """Answers SAMPLE."""
        head = {"sample": sample, "codec": codec, "count": values.size, "scale": 0.5, "zero_point": -128}
        head |= {"crc": zlib.crc32(values.data), "label": 4, "saturated": 1}
        pieces = tensors.activation_pieces(values, codec, -128, 128)
        return self.tell(Activation(**{**head, **fields}), *pieces)

    def awaiting(self, values: np.ndarray, **configuration: Any) -> SmashedData:
        self.ready(**configuration)
        self.session.sample(1, 5, train=True)
        self.exchange()
        codec = configuration.get("activation_codec", 0)
        (smashed,) = self.smashed(1, values, codec, activation_min=-128)
        assert isinstance(smashed, SmashedData)
        self.asked_since()
        return smashed
