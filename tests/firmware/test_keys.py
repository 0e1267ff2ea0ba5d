"""A board's key: who may give it, who may take it away, and what a power cut leaves of it."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
from session_board import SGD, Board

from cutlayer_boards.keys import DeviceKey
from cutlayer_boards.storage import read_key, write_key
from cutlayer_host.board_messages import Configured, Forgotten, Provisioned, Welcome
from cutlayer_host.codes import ErrorCode, Kind, Section
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
from cutlayer_host.message import Error, Message, Piece

STORAGE_BYTES = 4096
MEDIA: dict[str, dict[str, Any]] = {
    "file": {},
    "short blocks": {"erasable": True, "block_bytes": 64},
    "long blocks": {"erasable": True, "block_bytes": 512},
}
LOCKED = [
    *(
        SGD,
        Sample(sample=8),
        Gradient(sample=7, count=72, scale=1e-3),
        Piece(first=5, count=1, data=b"1"),
    ),
    *(Apply(step=1, samples=1, learning_rate=0.1), Clear(), Rescale(scale=0.5, zero_point=-128)),
    *(Read(section=Section.BIAS, offset=0, count=8), Stats(), Save(step=0)),
    *(Restore(run=77, step=0), Forget()),
]
FIRST = DeviceKey(b"device 1", b"1" * 32)
SECOND = DeviceKey(b"device 2", b"2" * 32)


def provision(key: DeviceKey) -> Provision:
    return Provision(device_id=key.device_id, key=key.secret)


def bytes_of(key: DeviceKey | None) -> bytes | None:
    return None if key is None else key.device_id + key.secret


def secure_board(**options: Any) -> Board:
    return Board(storage_bytes=STORAGE_BYTES, keyed=True, **options)


def greeted(board: Board) -> Welcome:
    assert board.lib.cl_session_event(board.session, board.lib.CL_EVENT_OPENED) == 0
    welcome = board.tell(Hello())
    assert isinstance(welcome, Welcome)
    return welcome


@pytest.mark.parametrize("message", LOCKED, ids=lambda message: message.KIND.name)
def test_without_a_key_a_board_takes_hello_and_provision_alone(message: Message) -> None:
    board = secure_board()
    assert board.board.keys_result == 0
    for greet in (False, True):
        if greet:
            assert greeted(board).device_id == bytes(8)
        assert board.refusal(message) == (message.KIND, ErrorCode.KEY)


def test_a_key_stays_through_resets_until_it_is_changed_or_forgotten() -> None:
    board = secure_board()
    for key in (FIRST, SECOND):
        greeted(board)
        assert board.tell(provision(key)) == Provisioned(device_id=key.device_id)
        assert board.board.key == bytes_of(key)
        board.board.reset()
        assert board.board.keys_result == 1
        assert board.board.key == bytes_of(key)
        assert greeted(board).device_id == key.device_id
        assert isinstance(board.tell(SGD), Configured)
    board.lib.cl_session_event(board.session, board.lib.CL_EVENT_OPENED)
    greeted(board)
    assert board.tell(Forget()) == Forgotten()
    assert board.board.key is None
    board.board.reset()
    assert (board.board.keys_result, board.board.key) == (0, None)
    assert greeted(board).device_id == bytes(8)
    assert FIRST.secret not in bytes(board.board.storage.data)
    assert SECOND.secret not in bytes(board.board.storage.data)


def test_a_device_id_of_0_is_none() -> None:
    board = secure_board()
    greeted(board)
    assert board.refusal(Provision(device_id=bytes(8), key=bytes(32))) == (Kind.PROVISION, ErrorCode.VALUE)
    assert board.board.storage.written == 0


@pytest.mark.parametrize("message", [provision(FIRST), Forget()], ids=["provision", "forget"])
def test_a_firmware_without_keys_takes_none(message: Message) -> None:
    board = Board()
    greeted(board)
    assert board.refusal(message)[1] == ErrorCode.KEY
    assert isinstance(board.tell(SGD), Configured)


@pytest.mark.parametrize("medium", MEDIA.values(), ids=MEDIA)
@pytest.mark.parametrize("before", [None, FIRST], ids=["new", "keyed"])
@pytest.mark.parametrize("after", [SECOND, None], ids=["provision", "forget"])
def test_a_power_cut_at_every_byte_leaves_the_old_key_or_the_new_one(
    before: DeviceKey | None, after: DeviceKey | None, medium: dict[str, Any]
) -> None:
    if after is before is None:
        return
    found = set()
    for budget in count():
        board = secure_board(**medium)
        greeted(board)
        if before:
            board.tell(provision(before))
            greeted(board)
        storage = board.board.storage
        storage.budget = budget
        answer = board.tell(provision(after) if after else Forget())
        cut, storage.fails, storage.budget = storage.fails, False, None
        board.board.reset()
        assert board.board.key in (bytes_of(before), bytes_of(after))
        found.add(board.board.key)
        if not isinstance(answer, Error):
            assert board.board.key == bytes_of(after)
        if not cut:
            break
    assert found == {bytes_of(before), bytes_of(after)}


def test_storage_that_fails_leaves_the_key() -> None:
    board = secure_board()
    greeted(board)
    board.tell(provision(FIRST))
    greeted(board)
    board.board.storage.fails = True
    assert board.refusal(provision(SECOND)) == (Kind.PROVISION, ErrorCode.STORAGE)
    assert board.refusal(Forget()) == (Kind.FORGET, ErrorCode.STORAGE)
    assert board.board.key == bytes_of(FIRST)
    assert isinstance(board.tell(SGD), Configured)


def test_python_and_the_firmware_keep_keys_alike(tmp_path: Any) -> None:
    path = tmp_path / "storage"
    write_key(path, FIRST)
    board = secure_board(data=path.read_bytes())
    assert board.board.key == bytes_of(FIRST)
    greeted(board)
    board.tell(provision(SECOND))
    path.write_bytes(board.board.storage.data)
    assert read_key(path) == SECOND
    greeted(board)
    board.tell(Forget())
    path.write_bytes(board.board.storage.data)
    assert read_key(path) is None


@pytest.mark.parametrize("data", [b"", np.random.default_rng(1).bytes(STORAGE_BYTES)], ids=["new", "noise"])
def test_a_storage_without_a_good_record_has_no_key(data: bytes) -> None:
    board = secure_board(data=data)
    assert (board.board.keys_result, board.board.key) == (0, None)


def test_without_room_for_keys_a_board_says_so() -> None:
    assert Board(storage_bytes=248, keyed=True).board.keys_result == ErrorCode.STORAGE
