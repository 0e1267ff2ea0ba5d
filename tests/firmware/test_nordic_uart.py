"""The Nordic UART Service as a byte pipe: the ring, and the cutting into notifications."""

from __future__ import annotations

from pathlib import Path

import pytest
from core import ROOT, core_library
from hypothesis import given
from hypothesis import strategies as st

HEADER = "../port/nordic_uart/nordic_uart.h"
LOST = -129
ARGUMENT = -1
RING_BYTES = 64


@pytest.fixture(scope="module")
def core():
    return core_library(
        [ROOT / "firmware" / "port" / "nordic_uart" / "nordic_uart.c"],
        [HEADER],
        extra_cdef="typedef int32_t notify_t(void *, const uint8_t *, uint32_t);",
    )


class Uart:
    """A pipe, and a stack that takes of each notification what `plan` says: bytes, 0, or an error."""

    def __init__(self, core, plan=(), ring_bytes: int = RING_BYTES) -> None:
        self.ffi, self.lib = core
        self.offered: list[bytes] = []
        self.taken: list[bytes] = []
        self._plan = iter(plan)
        self._notify = self.ffi.callback("notify_t", self._take)
        self._ring = self.ffi.new("uint8_t[]", max(ring_bytes, 1))
        self.uart = self.ffi.new("struct nordic_uart *")
        self.uart.notify, self.uart.ring, self.uart.ring_bytes = self._notify, self._ring, ring_bytes
        self.opened = self.lib.nordic_uart_init(self.uart)

    def _take(self, _context, value, count: int) -> int:
        self.offered.append(bytes(self.ffi.buffer(value, count)))
        taken = min(next(self._plan, count), count)
        if taken > 0:
            self.taken.append(self.offered[-1][:taken])
        return taken

    def receive(self, value: bytes) -> None:
        self.lib.nordic_uart_receive(self.uart, value, len(value))

    def read(self, capacity: int) -> bytes | int:
        data = self.ffi.new("uint8_t[]", max(capacity, 1))
        count = self.lib.nordic_uart_read(self.uart, data, capacity)
        return count if count < 0 else bytes(self.ffi.buffer(data, count))

    def write(self, data: bytes) -> int:
        return self.lib.nordic_uart_write(self.uart, data, len(data))


@pytest.mark.parametrize(("mtu", "most"), [(0, 20), (23, 20), (24, 21), (100, 97), (247, 244), (517, 244)])
def test_a_notification_has_what_fits_the_mtu(core, mtu: int, most: int) -> None:
    uart = Uart(core)
    uart.uart.mtu = mtu
    data = bytes(range(256)) * 3
    assert uart.write(data) == len(data)
    assert b"".join(uart.offered) == data
    assert {len(value) for value in uart.offered[:-1]} == {most}
    assert len(uart.offered) == -(-len(data) // most)


@given(st.binary(max_size=1000), st.lists(st.integers(0, 300), max_size=60), st.integers(23, 300))
def test_a_stack_that_refuses_or_takes_a_part_loses_nothing(core, data: bytes, plan: list[int], mtu) -> None:
    uart = Uart(core, plan)
    uart.uart.mtu = mtu
    sent = 0
    for _ in range(len(plan) + 2):
        taken = uart.write(data[sent:])
        assert taken >= 0
        sent += taken
        assert b"".join(uart.taken) == data[:sent]
    assert sent == len(data)
    assert max(map(len, uart.offered), default=0) <= min(mtu - 3, 244)


def test_a_refused_notification_ends_the_write_at_once(core) -> None:
    uart = Uart(core, [20, 0])
    assert uart.write(bytes(100)) == 20
    assert len(uart.offered) == 2
    assert Uart(core, [0]).write(bytes(100)) == 0
    assert Uart(core).write(b"") == 0


def test_a_link_that_is_lost_passes_through(core) -> None:
    assert Uart(core, [20, -200]).write(bytes(100)) == -200


@given(st.lists(st.one_of(st.binary(max_size=90), st.integers(0, 90)), max_size=60))
def test_the_ring_keeps_order_and_counts_what_it_has_no_room_for(core, events: list[bytes | int]) -> None:
    uart = Uart(core)
    # Indices run freely: let them wrap.
    uart.uart.ring_begin = uart.uart.ring_end = 2**32 - 100
    waiting, lost = b"", 0
    for event in events:
        if isinstance(event, bytes):
            uart.receive(event)
            room = RING_BYTES - len(waiting)
            waiting += event[:room]
            lost += max(len(event) - room, 0)
        else:
            assert uart.read(event) == waiting[:event]
            waiting = waiting[event:]
        assert uart.lib.nordic_uart_waiting(uart.uart) == len(waiting)
    assert uart.uart.lost_bytes == lost


def test_a_lost_host_is_told_of_once_after_its_last_bytes(core) -> None:
    uart = Uart(core)
    uart.uart.mtu = 247
    uart.receive(b"last")
    uart.lib.nordic_uart_disconnected(uart.uart)
    assert uart.uart.mtu == 23
    assert uart.read(3) == b"las"
    assert uart.read(3) == b"t"
    assert uart.read(3) == LOST
    assert uart.read(3) == b""
    uart.receive(b"next")
    assert uart.read(9) == b"next"


@pytest.mark.parametrize("ring_bytes", [0, 3, 100])
def test_a_ring_of_another_size_is_refused(core, ring_bytes: int) -> None:
    assert Uart(core, ring_bytes=ring_bytes).opened == ARGUMENT


def test_both_ends_name_the_same_service() -> None:
    from cutlayer_host.transports import nordic_uart

    text = (Path(ROOT) / "firmware/port/nordic_uart/nordic_uart.h").read_text()
    for name, uuid in (("SERVICE", nordic_uart.SERVICE), ("RX", nordic_uart.RX), ("TX", nordic_uart.TX)):
        assert f'NORDIC_UART_{name} "{uuid}"' in text
    assert f"NORDIC_UART_VALUE_MAX {nordic_uart.VALUE_BYTES_MAX}u" in text
