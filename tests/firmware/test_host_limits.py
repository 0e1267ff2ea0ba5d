"""What a board refuses a host of ill will: gradients and rates beyond its limits, cuts, haste, floods."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from node_board import NodeBoard, pointwise_layer
from node_line import NodeEnd
from session_board import SGD, Board

from cutlayer_host import tensors
from cutlayer_host.board_messages import Applied, Configured, Welcome
from cutlayer_host.codes import ErrorCode, Kind, Mode
from cutlayer_host.host_messages import Apply, Clear, Configure, Gradient
from cutlayer_host.line import Line
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.session import HostSession, Refused
from cutlayer_host.smashed_data import SmashedData

if TYPE_CHECKING:
    from collections.abc import Callable

NORM_MAX, RATE_MAX = 100.0, 10.0
COUNT, CHANNELS = 72, 6
F32 = np.finfo(np.float32)


def limited(**options: Any) -> Board:
    board = Board("none", **options)
    board.greet()
    return board


def memory(board: Board) -> bytes:
    """All that training keeps, and what has been added up."""
    train, count = board.session.train, board.layer.weights.size + CHANNELS
    parts = [(part, 4 * count) for part in (train.master, train.moment1, train.accumulator)]
    parts += [(train.weights, board.layer.weights.size), (train.bias, 4 * CHANNELS)]
    return b"".join(
        bytes(board.ffi.buffer(board.ffi.cast("uint8_t *", part), count)) for part, count in parts
    )


def offer(board: Board, g: np.ndarray, scale: float) -> Message | None:
    """A gradient, row by row. Returns the board's first answer."""
    masked = board.open_gradient(scale=scale)
    assert not masked[g != 0].any()
    answers = (
        board.tell(
            Piece(count=CHANNELS, first=i, data=g[i : i + CHANNELS][~masked[i : i + CHANNELS]].tobytes())
        )
        for i in range(0, COUNT, CHANNELS)
    )
    return next((answer for answer in answers if answer is not None), None)


def gradient(*values: int) -> np.ndarray:
    """One value in the first place without a mask of each row."""
    masked = limited().open_gradient()
    g = np.zeros(COUNT, np.int8)
    for row, value in enumerate(values):
        g[row * CHANNELS + int(np.flatnonzero(~masked[row * CHANNELS : (row + 1) * CHANNELS])[0])] = value
    return g


@pytest.mark.parametrize(
    ("values", "scale", "taken"),
    [
        ((100,), 1.0, True),
        ((100, 1), 1.0, False),
        ((-60, -80), 1.0, True),
        ((-60, -80, 1), 1.0, False),
        ((127, 127, 127), float(np.float32(NORM_MAX / 127 / 3**0.5) * np.float32(0.9999)), True),
        ((127, 127, 127), float(np.float32(NORM_MAX / 127 / 3**0.5) * np.float32(1.0001)), False),
        ((1,), NORM_MAX, True),
        ((1,), 2 * NORM_MAX, False),
        ((1,), float(F32.max), False),
        ((), float(F32.max), True),
        ((127,) * 12, float(F32.tiny), True),
        ((127,) * 12, float(F32.smallest_subnormal), True),
    ],
)
def test_the_norm_of_a_samples_gradient_is_bounded(
    values: tuple[int, ...], scale: float, taken: bool
) -> None:
    board = limited()
    before = memory(board)
    answer = offer(board, gradient(*values), scale)
    assert board.state == "READY"
    assert board.session.train.samples_in_step == taken
    if not taken:
        assert answer == Error(about=Kind.PIECE, code=ErrorCode.LIMIT, detail=0)
        assert memory(board) == before
        assert board.refusal(Apply(step=1, samples=1, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.SAMPLE)
        board.add()


def test_a_gradient_beyond_the_bound_drops_the_samples_before_it_too() -> None:
    board = limited()
    before = memory(board)
    assert offer(board, gradient(3), 1.0) is None
    assert isinstance(offer(board, gradient(101), 1.0), Error)
    assert board.session.train.samples_in_step == 0
    assert memory(board) == before


def test_a_learning_rate_beyond_the_bound_leaves_the_half_step() -> None:
    board = limited()
    board.add()
    before = memory(board)
    for rate in (float(np.nextafter(np.float32(RATE_MAX), F32.max)), float(F32.max)):
        answer = board.tell(Apply(step=1, samples=1, learning_rate=rate))
        assert answer == Error(about=Kind.APPLY, code=ErrorCode.LIMIT, detail=0)
    assert memory(board) == before
    assert isinstance(board.tell(Apply(step=1, samples=1, learning_rate=RATE_MAX)), Applied)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 0.0, -1.0])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    board = limited()
    board.sample()
    before = memory(board)
    message = struct.pack("<BB2xIIf", Kind.GRADIENT, 0, 7, COUNT, bad)
    assert board.refusal(message) == (Kind.GRADIENT, ErrorCode.VALUE)
    assert board.state == "AWAITING"
    board.tell(Clear())
    board.add()
    assert board.refusal(struct.pack("<BxHIf", Kind.APPLY, 1, 1, bad)) == (Kind.APPLY, ErrorCode.VALUE)
    board.tell(Clear())
    assert memory(board) == before


def test_a_weight_that_would_not_stay_finite_changes_nothing() -> None:
    board = limited()
    board.add()
    train = board.session.train
    for i in range(board.layer.weights.size + CHANNELS):
        train.master[i], train.moment1[i] = F32.max, -float(F32.max)
    before = memory(board)
    assert board.refusal(Apply(step=1, samples=1, learning_rate=RATE_MAX)) == (Kind.APPLY, ErrorCode.VALUE)
    assert memory(board) == before
    assert (train.step, train.samples_in_step) == (0, 1)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_cut_shallower_than_the_bundles_is_refused(trainable: bool) -> None:
    board = limited(first_cut=1, trainable=trainable)
    shallow = Configure(cut=0, momentum=0.9, run=5)
    answer = board.tell(shallow)
    assert answer == Error(about=Kind.CONFIGURE, code=ErrorCode.LIMIT, detail=0)
    head, _ = board.sample(mode=Mode.INFER)
    assert head.count == COUNT
    assert (board.session.cut, board.session.run) == (1, SGD.run)


def test_a_flood_of_samples_keeps_one_and_its_gradient_is_for_that_one() -> None:
    board = limited()
    before = memory(board)
    for number in range(50):
        board.sample(number, number % 4)
    assert board.refusal(Gradient(sample=48, count=COUNT, scale=1e-3)) == (Kind.GRADIENT, ErrorCode.SAMPLE)
    assert memory(board) == before
    assert board.session.counters[board.lib.CL_COUNTER_SAMPLES_CAPTURED] == 50


@pytest.mark.parametrize("state", ["READY", "AWAITING", "ADDING"])
def test_a_flood_of_pieces_adds_nothing(state: str) -> None:
    board = Board("none")
    board.reach(state)
    before = memory(board)
    beyond = Piece(first=0, count=0xFFFF, data=bytes(200))
    expected = ErrorCode.VALUE if state == "ADDING" else ErrorCode.STATE
    assert board.refusal(beyond) == (Kind.PIECE, expected)
    for first in (0, 1, 2**32 - 1):
        huge = Piece(first=first, count=0xFFFF, data=bytes(200))
        assert board.refusal(huge) == (Kind.PIECE, ErrorCode.STATE)
    assert memory(board) == before


@pytest.mark.parametrize("count", [0, 1, COUNT - 1, COUNT + 1, 2**20, 2**32 - 1])
def test_a_gradient_of_another_count_is_refused(count: int) -> None:
    board = limited()
    board.sample()
    message = struct.pack("<BB2xIIf", Kind.GRADIENT, 0, 7, count, 1e-3)
    assert board.refusal(message) == (Kind.GRADIENT, ErrorCode.VALUE)
    assert board.state == "AWAITING"


class Hasty:
    """A host that makes steps as fast as it can, and a node that takes one every 20 ms of virtual time."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        layer = pointwise_layer(rng, 3, 4, 5, CHANNELS)
        recordings = rng.integers(-128, 128, (4, *layer.input_shape)).astype(np.int8)
        node = NodeBoard(layer, recordings, defines=("CL_NODE_STEP_MS=20u",))
        self.session = HostSession(rng=random.Random(1))
        self.events: list[Any] = []
        # Bytes of no weight in time: only the node's clock holds steps back.
        self.line = Line(
            self.session, NodeEnd(node), on_host=self.events.append, on_board=self.events.append, seed=1
        )
        assert isinstance(self.ask(self.session.connect, self.line.now_ms), Welcome)
        assert isinstance(self.ask(self.session.configure, Configure(cut=1, restart=True)), Configured)

    def ask(self, request: Callable[..., None], *arguments: Any, **options: Any) -> Any:
        request(*arguments, **options)
        self.line.run(lambda: bool(self.events), self.line.now_ms + 10_000.0)
        return self.events.pop(0)

    def half_step(self, number: int) -> None:
        smashed = self.ask(self.session.sample, number, number % 4, train=True)
        assert isinstance(smashed, SmashedData)
        self.session.gradient(smashed, np.ones(smashed.values.size, np.int8), 1e-3)


def test_steps_are_taken_at_no_more_than_the_boards_rate() -> None:
    hasty = Hasty()
    applied_ms: list[float] = []
    refused = 0
    for step in range(1, 6):
        hasty.half_step(step)
        while isinstance(answer := hasty.ask(hasty.session.apply, step, 1, 0.1), Refused):
            assert (answer.about, answer.code) == (Kind.APPLY, ErrorCode.LIMIT)
            assert 0 < answer.detail <= 20
            refused += 1
            until_ms = hasty.line.now_ms + answer.detail
            hasty.line.run(lambda until_ms=until_ms: hasty.line.now_ms >= until_ms, until_ms + 1000.0)
        assert (answer.step, answer.saturated >= 0) == (step, True)
        applied_ms.append(hasty.line.now_ms)
        # A repeat is answered from memory, however soon.
        assert hasty.ask(hasty.session.apply, step, 1, 0.1) == answer
    assert refused >= 4
    assert np.diff(applied_ms).min() >= 19.0


def test_pieces_come_in_the_width_that_was_agreed() -> None:
    """A gradient of many codes in few bytes is one of another length."""
    board = limited()
    masked = board.open_gradient()
    narrow = next(iter(tensors.gradient_pieces(np.ones(COUNT, np.int8), masked, 2, 128)))
    assert board.refusal(narrow) == (Kind.PIECE, ErrorCode.LENGTH)
    assert board.session.train.samples_in_step == 0
