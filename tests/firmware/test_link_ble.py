"""The Arduino port's link over Bluetooth, against a stand-in for ArduinoBLE.

The library is not to be had where cutlayer is tested. This holds link_ble.cpp to its interface as the
library's source has it (2.0.1); nothing here says that a radio works.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cffi import FFI
from core import FLAGS, INCLUDE, ROOT

from cutlayer_host.transports.nordic_uart import SERVICE

if TYPE_CHECKING:
    from pathlib import Path

PORT = ROOT / "firmware" / "port"
FAKE = ROOT / "tests" / "firmware" / "arduino_ble"
CONNECT, DISCONNECT, SUBSCRIBE, WRITE = range(4)
LOST = -129


class Board:
    """The port with its library; what the host does reaches it in the library's poll."""

    def __init__(self, library: Path) -> None:
        self.ffi = FFI()
        self.ffi.cdef("""
            int32_t fake_open(void);
            void fake_event(int kind, const char *value, int32_t count, int mtu);
            int32_t fake_read(uint8_t *data, uint32_t capacity);
            int32_t fake_write(const uint8_t *data, uint32_t count);
            int fake_waits(void);
            int32_t fake_notified(uint8_t *data);
            int fake_longest(void);
            const char *fake_advertised(void);
            const char *fake_name(void);
            uint32_t fake_receive_bytes(void);
        """)
        self.lib: Any = self.ffi.dlopen(str(library))

    def host(self, kind: int, value: bytes = b"", mtu: int = 23) -> None:
        self.lib.fake_event(kind, value, len(value), mtu)

    def read(self, capacity: int = 5000) -> bytes | int:
        data = self.ffi.new("uint8_t[]", capacity)
        count = self.lib.fake_read(data, capacity)
        return count if count < 0 else bytes(self.ffi.buffer(data, count))

    def write(self, data: bytes) -> int:
        return self.lib.fake_write(data, len(data))

    def notified(self) -> bytes:
        data = self.ffi.new("uint8_t[]", 5000)
        return bytes(self.ffi.buffer(data, self.lib.fake_notified(data)))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("link_ble")
    flags = [flag for flag in FLAGS if not flag.startswith("-std")]
    includes = [f"-I{path}" for path in (FAKE, INCLUDE, PORT, PORT / "arduino")]
    subprocess.run(
        [
            "gcc",
            "-std=c99",
            *flags,
            *includes,
            "-c",
            "-o",
            tmp_path / "c.o",
            PORT / "nordic_uart/nordic_uart.c",
        ],
        check=True,
    )
    sources = [PORT / "arduino" / "link_ble.cpp", FAKE / "library.cpp", tmp_path / "c.o"]
    library = tmp_path / "board.so"
    subprocess.run(["g++", "-std=gnu++11", *flags, *includes, "-shared", "-o", library, *sources], check=True)
    return library


@pytest.fixture
def board(library: Path, tmp_path: Path) -> Board:
    # A library of another name has state of its own.
    board = Board(shutil.copy(library, tmp_path / "board.so"))
    assert board.lib.fake_open() == 1
    return board


def test_it_advertises_the_service_by_name(board: Board) -> None:
    assert board.ffi.string(board.lib.fake_advertised()).decode() == SERVICE
    assert board.ffi.string(board.lib.fake_name()) == b"cutlayer"


def test_writes_are_bytes_and_none_is_missed(board: Board) -> None:
    """Two writes between two polls are two values: the library keeps only the last."""
    board.host(CONNECT)
    board.host(WRITE, b"one ")
    board.host(WRITE, b"two ")
    board.host(WRITE, bytes(300))
    assert board.lib.fake_waits()
    assert board.read() == b"one two " + bytes(300)
    assert not board.lib.fake_waits()
    assert board.read() == b""


def test_the_credit_it_gives_is_what_it_can_keep(board: Board) -> None:
    room = board.lib.fake_receive_bytes()
    board.host(CONNECT)
    for first in range(0, room, 64):
        board.host(WRITE, bytes([first // 64]) * 64)
    assert board.read(room) == b"".join(bytes([first // 64]) * 64 for first in range(0, room, 64))


@pytest.mark.parametrize(("mtu", "longest"), [(23, 20), (242, 239), (247, 244), (300, 244)])
def test_the_library_cuts_to_the_mtu_and_nothing_is_lost(board: Board, mtu: int, longest: int) -> None:
    board.host(CONNECT, mtu=mtu)
    board.host(SUBSCRIBE)
    data = bytes(range(256)) * 4
    assert board.write(data) == len(data)
    assert board.notified() == data
    assert board.lib.fake_longest() == longest


def test_without_a_subscriber_nothing_is_taken(board: Board) -> None:
    assert board.write(b"early") == 0
    board.host(CONNECT)
    assert board.write(b"early") == 0
    board.host(SUBSCRIBE)
    assert board.read() == b""
    assert board.write(b"heard") == 5
    assert board.notified() == b"heard"


def test_a_host_that_leaves_is_told_of_once_and_may_come_back(board: Board) -> None:
    board.host(CONNECT)
    board.host(SUBSCRIBE)
    board.host(WRITE, b"last")
    board.host(DISCONNECT)
    assert board.lib.fake_waits()
    assert board.read() == b"last"
    assert board.lib.fake_waits()
    assert board.read() == LOST
    assert board.read() == b""
    assert board.write(b"nobody") == 0
    board.host(CONNECT, mtu=247)
    board.host(SUBSCRIBE)
    board.host(WRITE, b"again")
    assert board.read() == b"again"
    assert board.write(bytes(300)) == 300


def test_a_host_that_leaves_amid_a_write_takes_no_more(board: Board) -> None:
    """The library polls while it waits for its controller: the board hears of it inside writeValue."""
    board.host(CONNECT)
    board.host(SUBSCRIBE)
    assert board.read() == b""
    board.host(WRITE, b"heard while writing")
    board.host(DISCONNECT)
    assert board.write(bytes(100)) == 0
    assert board.notified() == b""
    assert board.read() == b"heard while writing"
    assert board.read() == LOST
