"""A step of training in the board's session in C: GRADIENT, its PIECEs, APPLY, and what drops half of it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from session_board import Board

from cutlayer_host.board_messages import Applied, Cleared
from cutlayer_host.codes import ErrorCode, Kind
from cutlayer_host.host_messages import Apply, Clear, Gradient
from cutlayer_host.message import Message, Piece

GRADIENT_FAULTS = {
    "another sample": (Gradient(sample=8, count=72, scale=1e-3), ErrorCode.SAMPLE),
    "another codec": (Gradient(sample=7, count=72, scale=1e-3, codec=1), ErrorCode.VALUE),
    "another count": (Gradient(sample=7, count=71, scale=1e-3), ErrorCode.VALUE),
    "no scale": (struct.pack("<BB2xIIf", 4, 0, 7, 72, float("nan")), ErrorCode.VALUE),
}


@pytest.mark.parametrize("fault", GRADIENT_FAULTS)
def test_a_wrong_gradient_leaves_the_sample_pending(fault: str) -> None:
    message, code = GRADIENT_FAULTS[fault]
    board = Board()
    board.greet()
    board.sample()
    assert board.refusal(message) == (Kind.GRADIENT, code)
    assert board.state == "AWAITING"
    assert board.tell(Gradient(sample=7, count=72, scale=1e-3)) is None


def test_all_samples_of_a_step_share_one_scale() -> None:
    board = Board()
    board.greet()
    board.add()
    board.sample()
    other = Gradient(sample=7, count=72, scale=2e-3)
    assert board.refusal(other) == (Kind.GRADIENT, ErrorCode.VALUE)


@pytest.mark.parametrize(
    "fault", ["gap", "repeat", "too long", "short data", "long data", "lowest value", "kind"]
)
def test_a_wrong_piece_drops_the_half_step(fault: str) -> None:
    board = Board()
    board.greet()
    board.add()
    masked = board.open_gradient()
    first, second, *_ = board.pieces(masked)
    expected = (Kind.PIECE, ErrorCode.VALUE)
    assert board.tell(first) is None
    if fault == "gap":
        wrong: Message | bytes = Piece(first=second.first + 1, count=second.count, data=second.data)
    elif fault == "repeat":
        wrong = first
    elif fault == "too long":
        wrong = Piece(first=second.first, count=masked.size - second.first + 1, data=second.data)
    elif fault in ("short data", "long data"):
        data = second.data[:-1] if fault == "short data" else second.data + b"\1"
        wrong, expected = (
            Piece(first=second.first, count=second.count, data=data),
            (Kind.PIECE, ErrorCode.LENGTH),
        )
    elif fault == "lowest value":
        wrong = Piece(first=second.first, count=second.count, data=b"\x80" * len(second.data))
    else:
        wrong, expected = b"\x77", (0x77, ErrorCode.KIND)
    assert board.refusal(wrong) == expected
    assert board.state == "READY"
    assert board.session.train.samples_in_step == 0
    count = 30 + 6
    assert not any(board.session.train.accumulator[i] for i in range(count))
    assert board.refusal(second) == (Kind.PIECE, ErrorCode.STATE)


def test_apply_wants_the_right_step_and_samples() -> None:
    board = Board()
    board.greet()
    assert board.refusal(Apply(step=1, samples=1, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.SAMPLE)
    board.add()
    assert board.refusal(Apply(step=0, samples=1, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.STEP)
    assert board.refusal(Apply(step=2, samples=1, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.STEP)
    assert board.refusal(Apply(step=1, samples=2, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.SAMPLE)
    before = board.board.master()
    nan = struct.pack("<BxHIf", 5, 1, 1, float("inf"))
    assert board.refusal(nan) == (Kind.APPLY, ErrorCode.VALUE)
    assert np.array_equal(board.board.master(), before)
    assert isinstance(board.tell(Apply(step=1, samples=1, learning_rate=0.1)), Applied)


def test_a_step_happens_once() -> None:
    board = Board()
    board.greet()
    board.add()
    board.add(9)
    apply = Apply(step=1, samples=2, learning_rate=0.1)
    applied = board.tell(apply)
    weights = board.board.master()
    assert isinstance(applied, Applied)
    assert applied.step == 1
    assert applied.weights_crc == zlib.crc32(weights.astype("<f4").tobytes())
    assert board.tell(apply) == applied
    board.add()  # a repeat does not touch the half step either
    assert board.tell(apply) == applied
    assert board.session.train.samples_in_step == 1
    assert np.array_equal(board.board.master(), weights)


def test_clear_drops_the_half_step() -> None:
    board = Board()
    board.greet()
    board.add()
    assert board.tell(Clear()) == Cleared(last_step=0)
    assert board.refusal(Apply(step=1, samples=1, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.SAMPLE)
    # Also its scale: the next step may have another one.
    assert board.open_gradient(scale=0.5).size == 72


def test_a_step_that_could_overflow_is_refused() -> None:
    board = Board()
    board.greet()
    rows_max = board.lib.cl_train_rows_max(board.session.config.model.trainable)
    masked = board.open_gradient()
    board.session.train.rows_in_step = rows_max
    assert board.refusal(board.pieces(masked)[0]) == (Kind.PIECE, ErrorCode.OVERFLOW)
    assert board.state == "READY"
