"""The board's session in C: every message in every state, and what it answers (SPEC.md, section 3)."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from session_board import ADAM, SGD, Board
from train_reference import Config, F, Reference

from cutlayer_host import tensors
from cutlayer_host.board_messages import Applied, Cleared, Configured, DataRead, Rescaled, StatsAre, Welcome
from cutlayer_host.codes import ACTIVATION_CODECS, ErrorCode, Flag, Kind, Mode, Optimizer, Section
from cutlayer_host.host_messages import (
    Apply,
    Clear,
    Configure,
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
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import decode
from cutlayer_host.wire import WIRE_VERSION

MESSAGES: dict[str, Message] = {
    "HELLO": Hello(),
    "CONFIGURE": ADAM,
    "SAMPLE": Sample(sample=8, recording=1),
    "GRADIENT": Gradient(sample=7, count=72, scale=1e-3),
    "PIECE": Piece(first=5, count=1, data=b"\1"),
    "APPLY": Apply(step=1, samples=1, learning_rate=0.1),
    "CLEAR": Clear(),
    "RESCALE": Rescale(scale=0.5, zero_point=-128),
    "READ": Read(section=Section.BIAS, offset=0, count=8),
    "STATS": Stats(),
    "SAVE": Save(step=0),
    "RESTORE": Restore(run=77, step=0),
    "PROVISION": Provision(device_id=bytes(8), key=bytes(32)),
    "FORGET": Forget(),
}
# The table of SPEC.md, section 3.2; messages wait in CAPTURING, SENDING and SAVING.
TAKES = {
    "CONNECTED": "HELLO",
    "GREETED": "HELLO CONFIGURE READ STATS RESTORE PROVISION FORGET",
    "READY": "HELLO CONFIGURE SAMPLE APPLY CLEAR RESCALE READ STATS SAVE RESTORE PROVISION FORGET",
    "AWAITING": "GRADIENT SAMPLE CLEAR CONFIGURE HELLO READ STATS RESTORE",
    "ADDING": "PIECE",
}
LEADS = {
    ("CONNECTED", "HELLO"): "GREETED",
    ("GREETED", "CONFIGURE"): "READY",
    ("READY", "SAMPLE"): "CAPTURING",
    ("READY", "SAVE"): "SAVING",
    ("READY", "RESTORE"): "GREETED",
    ("AWAITING", "RESTORE"): "GREETED",
    ("AWAITING", "GRADIENT"): "ADDING",
    ("AWAITING", "SAMPLE"): "CAPTURING",
    ("AWAITING", "CLEAR"): "READY",
    ("AWAITING", "CONFIGURE"): "READY",
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("state", TAKES)
def test_every_message_in_every_state(state: str, name: str) -> None:
    board = Board(storage_bytes=4096)
    board.greet()
    assert board.save(0).step == 0
    assert board.lib.cl_session_event(board.session, board.lib.CL_EVENT_OPENED) == 0
    board.reach(state)
    answer = board.tell(MESSAGES[name])
    is_refused = isinstance(answer, Error) and answer.code == ErrorCode.STATE
    assert is_refused == (name not in TAKES[state].split())
    if state == "ADDING":
        assert board.state == "READY"  # this PIECE is wrong, and so is everything else
    else:
        assert board.state == LEADS.get((state, name), state)


@pytest.mark.parametrize("state", ["CAPTURING", "SENDING", "SAVING"])
def test_messages_wait_while_a_sample_or_a_save_is_under_way(state: str) -> None:
    board = Board(storage_bytes=4096)
    board.reach(state)
    for message in MESSAGES.values():
        assert board.lib.cl_session_waits(board.session, message.KIND, 0)


def test_what_changes_replies_waits_for_them() -> None:
    board = Board()
    board.greet()
    waiting = {name for name, x in MESSAGES.items() if board.lib.cl_session_waits(board.session, x.KIND, 1)}
    assert waiting == {"CONFIGURE", "APPLY", "RESCALE", "SAVE", "RESTORE", "PROVISION", "FORGET"}
    assert not any(board.lib.cl_session_waits(board.session, x.KIND, 0) for x in MESSAGES.values())


@pytest.mark.parametrize("state", [*TAKES, "CAPTURING", "SENDING", "SAVING"])
def test_a_new_connection_starts_over_and_keeps_weights(state: str) -> None:
    board = Board(storage_bytes=4096)
    board.greet()
    board.add()
    assert isinstance(board.tell(Apply(step=1, samples=1, learning_rate=0.01)), Applied)
    weights = board.board.master()
    opened = board.lib.CL_EVENT_OPENED
    assert board.lib.cl_session_event(board.session, opened) == 0
    board.greet(Configure(cut=1, momentum=0.9))
    board.add()
    assert board.lib.cl_session_event(board.session, opened) == 0
    if state != "CONNECTED":
        assert isinstance(board.tell(Hello()), Welcome)
    if state not in ("CONNECTED", "GREETED"):
        board.tell(Configure(cut=1, momentum=0.9))
    if state in ("CAPTURING", "SENDING"):
        board.tell(Sample(sample=7, recording=0))
        if state == "SENDING":
            board.capture()
    elif state == "AWAITING":
        board.sample()
    elif state == "ADDING":
        board.open_gradient()
    elif state == "SAVING":
        assert board.tell(Clear()) == Cleared(last_step=1)
        assert board.tell(Save(step=1)) is None
    assert board.state == state
    assert board.lib.cl_session_event(board.session, opened) == 0
    assert board.state == "CONNECTED"
    assert board.session.train.samples_in_step == 0
    assert np.array_equal(board.board.master(), weights)
    welcome = board.tell(Hello())
    assert isinstance(welcome, Welcome)
    assert welcome.last_step == 1


def test_events_that_do_not_fit_change_nothing() -> None:
    board = Board()
    board.greet()
    for name in ("CAPTURED", "FAILED", "SENT", "AWAITED", "ADDED", "DROPPED", "SAVED"):
        event = getattr(board.lib, f"CL_EVENT_{name}")
        assert board.lib.cl_session_event(board.session, event) == ErrorCode.STATE
    assert board.state == "READY"


def test_unknown_kinds_and_wrong_lengths_are_answered() -> None:
    board = Board()
    board.greet()
    assert board.refusal(b"\x44abc") == (0x44, ErrorCode.KIND)
    assert board.refusal(b"\x81") == (0x81, ErrorCode.KIND)  # what only a board says
    assert board.refusal(b"\xf0") == (0xF0, ErrorCode.KIND)  # an event's number is no message
    assert board.refusal(Clear().encode() + b"\0") == (Kind.CLEAR, ErrorCode.LENGTH)
    assert board.tell(Error(about=3, code=-6)) is None
    assert board.state == "READY"


def test_hello_of_another_version_is_refused() -> None:
    board = Board()
    assert board.refusal(bytes([Kind.HELLO, WIRE_VERSION + 1, 0, 0])) == (Kind.HELLO, ErrorCode.VALUE)
    assert board.state == "CONNECTED"


def test_welcome_says_what_the_board_is() -> None:
    board = Board()
    welcome = board.tell(Hello())
    assert isinstance(welcome, Welcome)
    assert (welcome.model_id, welcome.board) == (bytes(range(32)), "cffi")
    assert (welcome.recordings, welcome.cut_count) == (4, 2)
    assert (welcome.smashed_count, welcome.weight_count, welcome.channel_count) == (72, 30, 6)
    assert welcome.output_scale == board.layer.output_scale
    assert (welcome.flags, welcome.optimizers) == (Flag.TRAINABLE, 3)
    assert welcome.train_bytes == board.session.config.train_bytes
    board.tell(SGD)
    again = board.tell(Hello())
    assert isinstance(again, Welcome)
    assert (welcome.run, again.run, again.held) == (0, 77, ())
    assert again.flags == Flag.TRAINABLE | Flag.CONFIGURED


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("codec", ACTIVATION_CODECS)
@pytest.mark.parametrize("cut", [0, 1])
def test_smashed_data_of_every_cut_in_every_codec(cut: int, codec: int, rows: bool) -> None:
    board = Board(rows=rows)
    board.greet(Configure(cut=cut, activation_codec=codec))
    head, values = board.sample(mode=Mode.INFER)
    x = board.recordings[1]
    y = np.int8(Reference(board.layer, Config("sgd", F(0.9))).forward(x) if cut else x).reshape(-1)
    raw = y.tobytes()
    assert np.array_equal(values, tensors.as_sent(y, codec & 15))
    assert (head.sample, head.count, head.label, head.codec) == (7, y.size, 3, codec)
    assert head.crc == zlib.crc32(raw)
    assert board.state == "READY"


@pytest.mark.parametrize(("label", "told"), [(0, 0), (32767, 32767), (32768, -1), (-5, -1), (-65536 + 3, -1)])
def test_a_label_that_the_wire_has_no_room_for_is_none(label: int, told: int) -> None:
    board = Board()
    board.greet()
    board.tell(Sample(sample=1, recording=0))
    assert board.lib.cl_session_captured(board.session, label) == 0
    assert board.drain()[0].label == told


def test_a_shallow_cut_is_for_inference_only() -> None:
    board = Board()
    board.greet(Configure(cut=0))
    assert board.refusal(Sample(sample=1, recording=0)) == (Kind.SAMPLE, ErrorCode.VALUE)
    assert board.state == "READY"


def test_configure_refuses_a_cut_there_is_not() -> None:
    board = Board()
    board.tell(Hello())
    assert board.refusal(Configure(cut=2)) == (Kind.CONFIGURE, ErrorCode.VALUE)
    assert board.state == "GREETED"


def test_another_optimizer_needs_a_restart() -> None:
    board = Board()
    board.greet(SGD)
    board.add()
    board.tell(Apply(step=1, samples=1, learning_rate=0.1))
    other = Configure(cut=1, optimizer=Optimizer.ADAM, momentum=0.9, beta2=0.9, epsilon=1e-7)
    weights = board.board.master()
    assert board.refusal(other) == (Kind.CONFIGURE, ErrorCode.VALUE)
    assert np.array_equal(board.board.master(), weights)
    assert board.tell(ADAM) == Configured(last_step=0)
    assert not np.array_equal(board.board.master(), weights)
    # The step that was applied before the restart is not remembered.
    assert board.refusal(Apply(step=1, samples=1, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.SAMPLE)


def test_adam_needs_the_memory_that_was_planned_for_it() -> None:
    board = Board(optimizer_max=0)
    board.tell(Hello())
    assert board.refusal(ADAM) == (Kind.CONFIGURE, ErrorCode.VALUE)
    assert isinstance(board.tell(SGD), Configured)


def test_a_head_without_a_trainable_layer_infers() -> None:
    board = Board(trainable=False)
    welcome = board.tell(Hello())
    assert isinstance(welcome, Welcome)
    assert (welcome.flags, welcome.optimizers, welcome.weight_count, welcome.train_bytes) == (0, 0, 0, 0)
    board.tell(SGD)
    assert board.refusal(Sample(sample=1, recording=0)) == (Kind.SAMPLE, ErrorCode.VALUE)
    board.sample(mode=Mode.INFER)
    assert board.refusal(Apply(step=1, samples=1, learning_rate=0.1)) == (Kind.APPLY, ErrorCode.STATE)
    assert board.refusal(Rescale(scale=1.0, zero_point=0)) == (Kind.RESCALE, ErrorCode.STATE)
    read = board.tell(Read(section=Section.MASTER, offset=0, count=8))
    assert read == DataRead(section=Section.MASTER, offset=0, count=0, total=0, data=b"")
    assert isinstance(board.tell(Clear()), Cleared)


def test_rescale_moves_scale_zero_point_and_mask() -> None:
    board = Board("relu")
    board.greet()
    scale = float(F(board.layer.output_scale * F(1.5)))
    assert board.tell(Rescale(scale=scale, zero_point=-100)) == Rescaled(
        scale=scale, zero_point=-100, last_step=0
    )
    head, values = board.sample()
    assert (head.scale, head.zero_point, head.activation_min) == (scale, -100, -100)
    assert int(values.min()) == -100
    assert board.refusal(Rescale(scale=1e-38, zero_point=0)) == (Kind.RESCALE, ErrorCode.STATE)
    board.tell(Clear())
    assert board.refusal(Rescale(scale=1e-38, zero_point=0)) == (Kind.RESCALE, ErrorCode.VALUE)
    welcome = board.tell(Hello())
    assert isinstance(welcome, Welcome)
    assert (welcome.output_scale, welcome.output_zero_point) == (scale, -100)
    board.add()
    assert board.refusal(Rescale(scale=scale, zero_point=0)) == (Kind.RESCALE, ErrorCode.STATE)


SECTIONS = {
    Section.WEIGHTS: ("weights", 30),
    Section.BIAS: ("bias", 24),
    Section.WEIGHT_SCALES: ("weight_scale", 24),
    Section.MASTER: ("master", 144),
    Section.MOMENT1: ("moment1", 144),
    Section.MOMENT2: ("moment2", 144),
}


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_are_read_as_they_lie(section: Section) -> None:
    board = Board()
    board.greet(ADAM)
    board.add()
    board.tell(Apply(step=1, samples=1, learning_rate=0.01))
    name, total = SECTIONS[section]
    expected = bytes(board.ffi.buffer(getattr(board.session.train, name), total))
    for offset, count in [(0, 500), (1, 7), (total - 3, 99), (total, 5), (3, 1)]:
        answer = board.tell(Read(section=section, offset=offset, count=count))
        data = expected[offset : offset + count]
        assert answer == DataRead(section=section, offset=offset, count=len(data), total=total, data=data)
    for offset in (total + 1, 2**32 - 1):
        wrong = Read(section=section, offset=offset, count=65535)
        assert board.refusal(wrong) == (Kind.READ, ErrorCode.VALUE)


def test_sgd_has_no_second_moment() -> None:
    board = Board()
    board.greet(SGD)
    answer = board.tell(Read(section=Section.MOMENT2, offset=0, count=9))
    assert answer == DataRead(section=Section.MOMENT2, offset=0, count=0, total=0, data=b"")


def test_an_answer_is_no_longer_than_a_payload() -> None:
    board = Board()
    board.greet()
    token = board.ffi.new("struct cl_link_token *")
    raw = Read(section=Section.MASTER, offset=0, count=144).encode()
    assert board.lib.cl_session_take(board.session, board.ffi.new("uint8_t[]", raw), len(raw), token) == 1
    payload = board.ffi.new("uint8_t[]", 256)
    assert board.lib.cl_session_encode(board.session, token, payload, 128) == 128
    answer = decode(bytes(board.ffi.buffer(payload, 128)))
    assert isinstance(answer, DataRead)
    assert (answer.count, answer.total) == (116, 144)
    assert board.lib.cl_session_encode(board.session, token, payload, 127) == ErrorCode.MEMORY


def test_refusals_are_counted() -> None:
    board = Board()
    board.tell(Clear())
    board.tell(b"\x55")
    board.greet()
    stats = board.tell(Stats())
    assert isinstance(stats, StatsAre)
    assert stats.named()["messages_refused"] == 2
