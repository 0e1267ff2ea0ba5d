"""A board's session in C without a link: messages in, answers out."""

from __future__ import annotations

from typing import Any

import numpy as np
from node_board import NodeBoard, pointwise_layer

from cutlayer_host import tensors
from cutlayer_host.board_messages import Activation, Configured, Welcome
from cutlayer_host.codes import Mode, Optimizer
from cutlayer_host.host_messages import Configure, Gradient, Hello, Sample, Save
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import decode

ADAM = Configure(cut=1, optimizer=Optimizer.ADAM, momentum=0.9, beta2=0.999, epsilon=1e-7, restart=1)
SGD = Configure(cut=1, optimizer=Optimizer.SGD, momentum=0.9, restart=1, run=77)


class Board:
    """`options` are NodeBoard's."""

    def __init__(self, activation: str = "relu", **options: Any) -> None:
        rng = np.random.default_rng(5)
        self.layer = pointwise_layer(rng, 3, 4, 5, 6, activation)
        recordings = rng.integers(-128, 128, (4, *self.layer.input_shape)).astype(np.int8)
        self.board = NodeBoard(self.layer, recordings, **options)
        assert self.board.init_result == self.board.bytes
        self.ffi, self.lib = self.board.ffi, self.board.lib
        self.session = self.ffi.addressof(self.board.node, "session")
        self.recordings = recordings
        self.rng = rng

    @property
    def state(self) -> str:
        return self.board.state

    def encode(self, token: Any) -> Message:
        payload = self.ffi.new("uint8_t[]", 256)
        count = self.lib.cl_session_encode(self.session, token, payload, 256)
        assert count > 0
        return decode(bytes(self.ffi.buffer(payload, count)))

    def tell(self, message: Message | bytes) -> Message | None:
        raw = message if isinstance(message, bytes) else message.encode()
        token = self.ffi.new("struct cl_link_token *")
        result = self.lib.cl_session_take(
            self.session, self.ffi.new("uint8_t[]", raw or b"\0"), len(raw), token
        )
        assert result in (0, 1)
        return self.encode(token) if result else None

    def refusal(self, message: Message | bytes) -> tuple[int, int]:
        answer = self.tell(message)
        assert isinstance(answer, Error)
        return answer.about, answer.code

    def greet(self, configuration: Configure = SGD) -> None:
        assert isinstance(self.tell(Hello()), Welcome)
        assert isinstance(self.tell(configuration), Configured)

    def capture(self) -> None:
        """Runs the head on the pending sample, as the node does."""
        assert self.state == "CAPTURING"
        arena = self.session.config.arena
        raw = self.recordings[self.session.sample.recording].tobytes()
        self.ffi.memmove(arena, raw, len(raw))
        for op in range(self.lib.cl_session_op_count(self.session)):
            assert self.lib.cl_session_run(self.session, op) == 0
        assert self.lib.cl_session_captured(self.session, 3) == 0

    def drain(self) -> tuple[Activation, np.ndarray]:
        """All that SENDING sends."""
        token = self.ffi.new("struct cl_link_token *")
        assert self.lib.cl_session_next(self.session, 128, token) == 1
        head = self.encode(token)
        assert isinstance(head, Activation)
        values = np.zeros(0, np.int8)
        while self.lib.cl_session_next(self.session, 40, token):
            piece = self.encode(token)
            assert isinstance(piece, Piece)
            assert piece.first == values.size
            part = tensors.activation_values(piece.data, piece.count, head.codec, head.zero_point)
            values = np.concatenate([values, part])
        assert self.lib.cl_session_sent(self.session) == 0
        return head, values

    def sample(self, number: int = 7, recording: int = 1, mode: Mode = Mode.TRAIN) -> tuple[Any, np.ndarray]:
        assert self.tell(Sample(sample=number, recording=recording, mode=mode)) is None
        self.capture()
        return self.drain()

    def open_gradient(self, number: int = 7, scale: float = 1e-3) -> np.ndarray:
        """GRADIENT without its PIECEs. Returns the mask."""
        head, values = self.sample(number)
        gradient = Gradient(sample=number, count=values.size, scale=scale)
        assert self.tell(gradient) is None
        assert self.state == "ADDING"
        return tensors.masked(values, head.codec, head.activation_min, head.activation_max)

    def pieces(self, masked: np.ndarray) -> list[Piece]:
        g = self.rng.integers(-127, 128, masked.size).astype(np.int8)
        return list(tensors.gradient_pieces(g, masked, 0, 20))

    def add(self, number: int = 7) -> None:
        for piece in self.pieces(self.open_gradient(number)):
            assert self.tell(piece) is None
        assert self.state == "READY"

    def save(self, step: int) -> Any:
        """SAVE, and all of SAVING. Returns the answer."""
        assert self.tell(Save(step=step)) is None
        token = self.ffi.new("struct cl_link_token *")
        assert self.state == "SAVING"
        while not self.board.saver.calls.save(self.board.saver, self.session, token):
            assert self.state == "SAVING"
        assert self.state == "READY"
        return self.encode(token)

    def reach(self, state: str) -> None:
        if state == "CONNECTED":
            return
        if state == "GREETED":
            self.tell(Hello())
            return
        self.greet()
        if state in ("CAPTURING", "SENDING"):
            assert self.tell(Sample(sample=7, recording=0)) is None
            if state == "SENDING":
                self.capture()
        elif state == "AWAITING":
            self.sample()
        elif state == "ADDING":
            self.open_gradient()
        elif state == "SAVING":
            assert self.tell(Save(step=0)) is None
        assert self.state == state
