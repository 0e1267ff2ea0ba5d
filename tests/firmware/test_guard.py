"""The guard on Monocypher in C: the shared vectors, what it draws, its counters and its replay window."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from core import ROOT, core_library
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_files import vectors

from cutlayer_boards.third_party import monocypher, monocypher_object
from cutlayer_host.guard import COUNTER_END, PARAMETERS_BYTES, SYN_ACK_BYTES, SYN_BYTES, Seal
from cutlayer_host.wire import HEADER_BYTES, SEAL_BYTES

GUARD = ROOT / "firmware" / "lib" / "guard"
BOARD, HOST = 0, 1
ERROR_ARGUMENT, ERROR_KEY = -1, -14
PLAIN = bytes([2, 0, 128, 0, 0xE8, 3, 5, 0])
SEALED = bytes([2, 1, 128, 0, 0xE8, 3, 5, 0])
CASES = vectors("seals")["seals"]
every_case = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


@cache
def library() -> tuple[Any, Any]:
    sources = [GUARD / "src" / "guard_monocypher.c", monocypher_object("gcc", "-fPIC")]
    include = (GUARD / "include", monocypher())
    return core_library(sources, ["guard/guard_monocypher.h"], include=include)


class Guard:
    """`drawn` is what its source of random bytes gives; nothing left: it fails."""

    def __init__(self, role: int, drawn: bytes = b"", key: bytes | None = bytes(32)) -> None:
        self.ffi, self.lib = library()
        self.drawn = drawn
        self._random = self.ffi.callback("int32_t(void *, uint8_t *, uint32_t)", self.random)
        self.struct = self.ffi.new("struct guard_monocypher *")
        config = self.ffi.new("struct guard_config *", {"role": role, "random": self._random})
        assert self.lib.guard_monocypher_init(self.struct, config) == 0
        self.set_key(bytes(8), key)
        self.guard = self.lib.guard_monocypher(self.struct)

    def random(self, _: Any, data: Any, count: int) -> int:
        if len(self.drawn) < count:
            return -1
        self.ffi.buffer(data, count)[:], self.drawn = self.drawn[:count], self.drawn[count:]
        return 0

    def set_key(self, device_id: bytes, key: bytes | None) -> None:
        self.lib.guard_monocypher_set_key(self.struct, device_id, self.ffi.NULL if key is None else key)

    def meet(self, connection: int, payload: bytes) -> int:
        return int(self.guard.meet(self.guard.context, connection, payload, len(payload)))

    def introduce(self, connection: int, parameters: bytes) -> bytes:
        payload = self.ffi.new("uint8_t[]", parameters + bytes(SYN_ACK_BYTES))
        count = self.guard.introduce(self.guard.context, connection, payload)
        return bytes(self.ffi.buffer(payload, count))

    def seal(self, body: bytes) -> bytes | int:
        buffer = self.ffi.new("uint8_t[]", body + bytes(SEAL_BYTES))
        count = int(self.guard.seal(self.guard.context, buffer, len(body)))
        return count if count < 0 else bytes(self.ffi.buffer(buffer, count))

    def open(self, sealed: bytes) -> tuple[bytes | int, bytes | None]:
        """The body or an error, and the parameters of a new connection."""
        buffer, parameters = self.ffi.new("uint8_t[]", sealed), self.ffi.new("const uint8_t **")
        count = int(self.guard.open(self.guard.context, buffer, len(sealed), parameters))
        new = None if parameters[0] == self.ffi.NULL else bytes(self.ffi.buffer(parameters[0], 8))
        return (count if count < 0 else bytes(self.ffi.buffer(buffer, count))), new


def ends(case: dict[str, Any]) -> tuple[Guard, Guard, dict[str, bytes]]:
    """A host and a board that draw what the vector's drew."""
    given = {name: bytes.fromhex(case[name]) for name in ("device_id", "key", "syn", "syn_ack")}
    host = Guard(HOST, given["syn"][PARAMETERS_BYTES:])
    board = Guard(BOARD, given["syn_ack"][PARAMETERS_BYTES:SYN_BYTES])
    for guard in (host, board):
        guard.set_key(given["device_id"], given["key"])
    return host, board, given


def connect(case: dict[str, Any] = CASES[0]) -> tuple[Guard, Guard]:
    host, board, given = ends(case)
    host.introduce(case["connection"], given["syn"][:PARAMETERS_BYTES])
    board.meet(case["connection"], given["syn"])
    assert host.meet(case["connection"], board.introduce(case["connection"], given["syn_ack"][:8])) == 0
    assert board.open(host.seal(body_of(case["connection"])))[1] == given["syn"][:PARAMETERS_BYTES]
    return host, board


def body_of(connection: int, payload: bytes = b"") -> bytes:
    return b"\x06\0" + connection.to_bytes(2, "little") + bytes(8) + payload


@every_case
def test_the_vectors(case: dict[str, Any]) -> None:
    host, board, given = ends(case)
    connection = case["connection"]
    for _ in range(2):  # the same again
        assert host.introduce(connection, given["syn"][:PARAMETERS_BYTES]) == given["syn"]
        assert board.meet(connection, given["syn"]) == ERROR_KEY
        assert board.introduce(connection, given["syn_ack"][:PARAMETERS_BYTES]) == given["syn_ack"]
    assert host.meet(connection, given["syn_ack"]) == 0
    first, *frames = case["frames"]
    assert host.seal(bytes.fromhex(first["body"])) == bytes.fromhex(first["sealed"])
    opened = board.open(bytes.fromhex(first["sealed"]))
    assert opened == (bytes.fromhex(first["body"]), given["syn"][:PARAMETERS_BYTES])
    guards = {"host": (host, board), "board": (board, host)}
    for frame in frames:
        sender, receiver = guards[frame["from"]]
        assert sender.seal(bytes.fromhex(frame["body"])) == bytes.fromhex(frame["sealed"])
        assert receiver.open(bytes.fromhex(frame["sealed"])) == (bytes.fromhex(frame["body"]), None)
        assert receiver.open(bytes.fromhex(frame["sealed"])) == (ERROR_KEY, None)


def test_without_a_key_everything_is_plain() -> None:
    board, host = Guard(BOARD, key=None), Guard(HOST, key=None)
    assert (board.meet(1, PLAIN), host.meet(1, PLAIN)) == (0, 0)
    assert board.introduce(1, PLAIN) == host.introduce(1, PLAIN) == PLAIN
    assert board.meet(1, SEALED + bytes(24)) == host.meet(1, SEALED + bytes(48)) == ERROR_KEY
    assert board.introduce(1, PLAIN) == PLAIN


def test_with_a_key_nothing_is_plain() -> None:
    board, host = Guard(BOARD, bytes(24)), Guard(HOST, bytes(24))
    assert board.meet(1, PLAIN) == host.meet(1, PLAIN) == ERROR_KEY
    assert board.introduce(1, PLAIN) == SEALED
    assert host.introduce(1, PLAIN) == SEALED + bytes(24)


def test_without_random_bytes_no_connection_comes_to_be() -> None:
    board, host = Guard(BOARD), Guard(HOST)
    board.meet(1, SEALED + bytes(24))
    assert board.introduce(1, PLAIN) == host.introduce(1, PLAIN) == SEALED
    empty = board.ffi.new("struct guard_config *")
    assert board.lib.guard_monocypher_init(board.struct, empty) == ERROR_ARGUMENT


def test_each_connection_draws_another_nonce() -> None:
    host, board = Guard(HOST, bytes(range(48))), Guard(BOARD, bytes(range(100, 148)))
    syns = [host.introduce(connection, PLAIN) for connection in (1, 2)]
    answers = []
    for connection, syn in enumerate(syns, 1):
        board.meet(connection, syn)
        answers.append(board.introduce(connection, PLAIN))
    assert syns[0][8:] != syns[1][8:]
    assert answers[0][8:32] != answers[1][8:32]


def test_a_key_that_is_taken_away_is_gone() -> None:
    _, board = connect()
    key = bytes.fromhex(CASES[0]["key"])
    assert key in bytes(board.ffi.buffer(board.struct))
    board.set_key(bytes(8), None)
    assert key not in bytes(board.ffi.buffer(board.struct))
    assert board.meet(2, PLAIN) == 0


def test_the_counters_end() -> None:
    host, board = connect()
    number = CASES[0]["connection"]
    host.struct.present.sending.counter = COUNTER_END - 1
    last = host.seal(body_of(number, b"last"))
    assert board.open(last) == (body_of(number, b"last"), None)
    assert host.seal(body_of(number)) == ERROR_KEY
    assert host.struct.present.sending.counter == COUNTER_END


@given(st.lists(st.one_of(st.integers(0, 200), st.integers(0, COUNTER_END - 1)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_every_counter_opens_once(counters: list[int]) -> None:
    """C and Python beside a model that remembers everything."""
    host, board = connect()
    keys = bytes.fromhex(CASES[0]["keys"])
    python, number = Seal(keys[32:], keys[:32]), CASES[0]["connection"]
    seen, newest = {0}, 0
    python.open(Seal(keys[:32], keys[32:]).seal(body_of(number)))
    for counter in counters:
        host.struct.present.sending.counter = counter
        sealed = host.seal(body_of(number, b"x"))
        assert isinstance(sealed, bytes)
        wanted = counter not in seen and counter > newest - 64
        assert (board.open(sealed)[0] != ERROR_KEY) == wanted
        assert (python.open(sealed) is not None) == wanted
        if wanted:
            seen.add(counter)
            newest = max(newest, counter)


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_nobody_elses_bytes_open(seed: int) -> None:
    _, board = connect()
    rng = random.Random(seed)
    body = body_of(CASES[0]["connection"], rng.randbytes(rng.randrange(60)))
    assert board.open(body) == (ERROR_KEY, None)
    assert len(body) >= HEADER_BYTES
