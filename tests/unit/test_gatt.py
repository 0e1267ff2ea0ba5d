"""The rules that every Bluetooth stack shares: sizes, refusals, lost connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from carriers import FakeCarrier, FakeConnector
from hypothesis import given
from hypothesis import strategies as st

from cutlayer_host.errors import TransportError
from cutlayer_host.transports import gatt
from cutlayer_host.transports.gatt import GattPipe, GattTransport
from cutlayer_host.transports.nordic_uart import BleTarget, board_url, notification_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "c0:ff:ee:00:00:01"
MAC_NAME = "0e8c1d5e-7c2a-4b7e-9d3a-2b1f0c6d5e4f"


@given(
    st.binary(max_size=600),
    st.lists(st.sampled_from(["take", "refuse"]), max_size=40),
    st.lists(st.integers(1, 244), max_size=40),
)
def test_nothing_is_lost_or_reordered_by_a_stack_that_refuses(
    data: bytes, plan: list[str], sizes: list[int]
) -> None:
    async def run() -> FakeCarrier:
        pipe, carrier = GattPipe("ble://fake"), FakeCarrier(plan, list(sizes))
        pipe.attach(carrier)
        await pipe.write(data)
        return carrier

    carrier = asyncio.run(run())
    assert b"".join(carrier.values) == data
    assert carrier.waits == carrier.refused
    assert max(map(len, carrier.values), default=0) <= max([20, *sizes])


@given(st.lists(st.binary(min_size=1, max_size=30)), st.integers(1, 50))
def test_values_are_read_as_bytes(values: list[bytes], max_bytes: int) -> None:
    async def run() -> bytes:
        pipe = GattPipe("ble://fake")
        for value in values:
            pipe.receive(value)
        pipe.end()
        read = b""
        while part := await pipe.read(max_bytes):
            assert len(part) <= max_bytes
            read += part
        return read

    assert asyncio.run(run()) == b"".join(values)


async def test_a_write_waits_for_a_connection_and_a_read_for_a_value() -> None:
    pipe, carrier = GattPipe("ble://fake"), FakeCarrier()
    writing, reading = asyncio.create_task(pipe.write(b"down")), asyncio.create_task(pipe.read(9))
    await asyncio.sleep(0)
    pipe.attach(carrier)
    await writing
    assert carrier.values == [b"down"]
    assert not reading.done()
    pipe.receive(b"up")
    assert await reading == b"up"


async def test_a_cancelled_read_loses_nothing() -> None:
    pipe = GattPipe("ble://fake")
    reading = asyncio.create_task(pipe.read(9))
    await asyncio.sleep(0)
    pipe.receive(b"kept")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await pipe.read(9) == b"kept"


@pytest.mark.parametrize("end", ["break", "fail"])
async def test_a_write_goes_on_over_the_next_connection(end: str) -> None:
    """Also when the stack fails to write, and the connection itself does not end."""
    connector = FakeConnector(["take", "refuse", "take", end], ["take"])
    transport = GattTransport("ble://fake", connector)
    await transport.open()
    data = bytes(range(100))
    await transport.write(data)
    first, second = connector.carriers
    assert b"".join(first.values + second.values) == data
    assert len(first.values) == 2
    assert first.closed == 1
    assert transport.connections == 2
    await transport.close()


async def test_it_connects_again_when_nobody_writes() -> None:
    connector = FakeConnector([], None, None, [])
    transport = GattTransport("ble://fake", connector)
    await transport.open()
    connector.on_value[0](b"old ")
    (await connector.made.get()).gone.set()
    await connector.made.get()
    assert connector.attempts == 4
    connector.on_value[0](b"late")
    connector.on_value[1](b"new")
    assert await transport.read(99) == b"old new"
    assert transport.connections == 2
    await transport.close()
    assert connector.closed == 1


async def test_a_board_that_stays_away_ends_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatt, "RETRY_SECONDS", 0.001)
    connector = FakeConnector([])
    transport = GattTransport("ble://fake", connector, reconnect_seconds=0.02)
    await transport.open()
    connector.on_value[0](b"last words")
    connector.carriers[0].gone.set()
    with pytest.raises(TransportError, match=r"did not come back for 0\.02 s") as caught:
        await transport.write(bytes(40))
    assert caught.value.hint
    assert "no such board" in str(caught.value.__cause__)
    assert await transport.read(99) == b"last words"
    with pytest.raises(TransportError, match="did not come back"):
        await transport.read(99)
    assert connector.attempts > 2
    await transport.close()


async def test_a_fault_of_the_stack_leaves_nobody_waiting() -> None:
    class Faulty(FakeConnector):
        async def connect(self, on_value: Callable[[bytes], None], gone: asyncio.Event) -> FakeCarrier:
            if self.carriers:
                raise RuntimeError("a bug")
            return await super().connect(on_value, gone)

    connector = Faulty([])
    transport = GattTransport("ble://fake", connector)
    await transport.open()
    reading = asyncio.create_task(transport.read(9))
    connector.carriers[0].gone.set()
    with pytest.raises(TransportError, match="a bug"):
        await reading
    await transport.close()


async def test_a_closed_transport_says_so_and_stays_closed() -> None:
    connector = FakeConnector([], [])
    transport = GattTransport("ble://fake", connector)
    await transport.open()
    reading = asyncio.create_task(transport.read(9))
    await asyncio.sleep(0)
    await transport.close()
    await transport.close()
    assert await reading == b""
    assert connector.carriers[0].closed == 1
    assert connector.attempts == 1
    with pytest.raises(TransportError, match="closed"):
        await transport.write(b"late")


async def test_a_board_that_is_not_there_leaves_nothing_open() -> None:
    connector = FakeConnector(None)
    with pytest.raises(TransportError, match="no such board"):
        await GattTransport("ble://fake", connector).open()
    assert connector.closed == 1


@pytest.mark.parametrize(
    ("url", "address", "name", "hci"),
    [
        ("ble://C0:FF:EE:00:00:01", ADDRESS, None, None),
        (f"ble://{MAC_NAME.upper()}/", MAC_NAME, None, None),
        ("ble://Nano%20of%20J%2e", None, "Nano of J.", None),
        ("ble://C0:FF:EE", None, "C0:FF:EE", None),
        ("ble://cutlayer?hci=usb:0", None, "cutlayer", "usb:0"),
    ],
)
def test_urls(url: str, address: str | None, name: str | None, hci: str | None) -> None:
    assert BleTarget.parse(url) == BleTarget(url, address, name, hci)


@pytest.mark.parametrize("url", ["ble://", "ble:///cutlayer", "ble://a/b", "ble://a?baud=9600"])
def test_what_is_no_url_of_a_board(url: str) -> None:
    with pytest.raises(TransportError, match="not a Bluetooth board's URL") as caught:
        BleTarget.parse(url)
    assert caught.value.hint


def test_which_board_is_meant() -> None:
    by_address, by_name = BleTarget.parse(board_url(ADDRESS.upper())), BleTarget.parse("ble://one")
    assert by_address.matches(ADDRESS.upper(), "other")
    assert not by_address.matches("c0:ff:ee:00:00:02", "one")
    assert by_name.matches(ADDRESS, "one")
    assert not by_name.matches(ADDRESS, "One")
    assert not by_name.matches(ADDRESS, None)


@pytest.mark.parametrize(("mtu", "value_bytes"), [(23, 20), (247, 244), (517, 244)])
def test_notifications(mtu: int, value_bytes: int) -> None:
    assert notification_bytes(mtu) == value_bytes
