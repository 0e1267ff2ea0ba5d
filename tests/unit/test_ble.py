"""Bluetooth without a radio: both stacks reach a peripheral over bumble's link in memory."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason
from bleak_over_bumble import BumbleScanner, backends
from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.gatt import Characteristic, Service
from bumble.hci import HCI_AclDataPacket
from bumble.host import DataPacketQueue
from bumble.transport.tcp_server import open_tcp_server_transport_with_socket
from bumble.utils import EventEmitter
from double_board import RECORDINGS, double_board
from faulty_air import WAYS, FaultyAir

from cutlayer_host.cli import main
from cutlayer_host.commands.devices import _greet_all
from cutlayer_host.errors import TransportError
from cutlayer_host.transports import ble, open_transport
from cutlayer_host.transports.ble import BleTransport, scan_ble
from cutlayer_host.transports.bumble_central import BumbleCarrier, BumbleTransport
from cutlayer_host.transports.bumble_peripheral import BumblePeripheral, _advertising, _Subscriber
from cutlayer_host.transports.gatt import CarrierGone, GattPipe
from cutlayer_host.transports.nordic_uart import RX, SERVICE, BlePeripheral, BleTarget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cutlayer_host.transports.base import Transport
    from cutlayer_host.transports.gatt import GattTransport

DATA = bytes(range(256)) * 40


async def read_exactly(transport: Transport, count: int) -> bytes:
    data = b""
    async with asyncio.timeout(20):
        while len(data) < count:
            part = await transport.read(count - len(data))
            assert part
            data += part
    return data


@asynccontextmanager
async def reach(
    stack: str, air: FaultyAir, url: str = "ble://cutlayer", mtu: int = 247, **options: Any
) -> AsyncIterator[GattTransport]:
    device = air.device("host")
    await device.power_on()
    target = BleTarget.parse(url)
    transport: GattTransport = (
        BumbleTransport(target, device, mtu=mtu, **options)
        if stack == "bumble"
        else BleTransport(target, **backends(device, mtu), **options)
    )
    try:
        await transport.open()
        yield transport
    finally:
        await transport.close()
        await device.power_off()


@asynccontextmanager
async def peripheral_in(air: FaultyAir, name: str = "cutlayer") -> AsyncIterator[BumblePeripheral]:
    peripheral = BumblePeripheral(air.device("board"), name)
    await peripheral.start()
    try:
        yield peripheral
    finally:
        await peripheral.close()


stacks = pytest.mark.parametrize("stack", ["bumble", "bleak"])


@stacks
@pytest.mark.parametrize("mtu", [23, 247])
async def test_bytes_go_both_ways_at_once_in_the_longest_values(stack: str, mtu: int) -> None:
    air = FaultyAir()
    async with peripheral_in(air) as board, reach(stack, air, mtu=mtu) as host, asyncio.TaskGroup() as group:
        down = group.create_task(read_exactly(board, len(DATA)))
        up = group.create_task(read_exactly(host, len(DATA)))
        group.create_task(host.write(DATA))
        group.create_task(board.write(DATA))
    assert down.result() == up.result() == DATA
    assert air.longest_bytes == mtu - 3
    assert air.values == 2 * -(-len(DATA) // (mtu - 3))
    assert board.notifications == air.values // 2


@stacks
@pytest.mark.parametrize("packet_bytes", [27, 251])
async def test_what_waits_in_a_stack_is_bounded(stack: str, packet_bytes: int) -> None:
    """bumble takes all that it is given; we give no more than its controller takes."""
    air = FaultyAir(packet_bytes=packet_bytes)
    data = DATA * 10
    async with peripheral_in(air) as board, reach(stack, air) as host, asyncio.TaskGroup() as group:
        group.create_task(host.write(data))
        group.create_task(board.write(data))
        for end in (host, board):
            group.create_task(read_exactly(end, len(data)))
    fragments = -(-250 // packet_bytes)
    assert 2 < air.longest_queue < 64 + fragments < len(data) // 244


@stacks
@pytest.mark.parametrize("way", WAYS)
async def test_a_link_that_is_cut_comes_back(stack: str, way: str) -> None:
    air = FaultyAir()
    async with peripheral_in(air) as board, reach(stack, air) as host:
        await host.write(b"before")
        assert await read_exactly(board, 6) == b"before"
        await air.cut(way)
        await asyncio.gather(board.write(b"up again"), host.write(b"down again"))
        assert await read_exactly(host, 8) == b"up again"
        assert await read_exactly(board, 10) == b"down again"
        assert host.connections == 2


@stacks
@pytest.mark.parametrize("way", WAYS)
async def test_a_cut_leaves_no_writer_waiting(stack: str, way: str) -> None:
    """Writers wait for room in queues that the cut has emptied without a word."""
    air = FaultyAir()
    data = DATA * 10
    async with peripheral_in(air) as board, reach(stack, air) as host:
        writes = [asyncio.create_task(end.write(data)) for end in (host, board)]
        await asyncio.gather(read_exactly(host, 20_000), read_exactly(board, 20_000))
        assert not any(write.done() for write in writes)
        await air.cut(way)
        await asyncio.wait_for(asyncio.gather(*writes), 20)
        assert host.connections == 2


@stacks
async def test_a_name_without_the_service_is_no_board(stack: str) -> None:
    air = FaultyAir()
    headphones = air.device("cutlayer")
    headphones.advertising_data = bytes(AdvertisingData([(AdvertisingData.COMPLETE_LOCAL_NAME, b"cutlayer")]))
    await headphones.power_on()
    await headphones.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
    async with peripheral_in(air) as board:
        for _ in range(3):
            async with reach(stack, air) as host:
                await host.write(b"!")
                assert await read_exactly(board, 1) == b"!"
    await headphones.power_off()


@stacks
async def test_the_board_is_found_by_address_or_name_among_others(stack: str) -> None:
    air = FaultyAir()
    async with peripheral_in(air, "one"), peripheral_in(air, "two") as two:
        for url in ("ble://two", "ble://f0:00:00:00:00:02"):
            async with reach(stack, air, url) as host:
                await host.write(b"to two")
                assert await read_exactly(two, 6) == b"to two"


@stacks
async def test_a_name_that_two_boards_have_stays_with_the_one_taken(stack: str) -> None:
    air = FaultyAir()
    async with (
        peripheral_in(air, "twin") as one,
        peripheral_in(air, "twin") as other,
        reach(stack, air, "ble://twin") as host,
    ):
        taken = one if one._carrier else other
        for _ in range(6):
            await air.cut("radio")
            await host.write(b"!")
            assert await read_exactly(taken, 1) == b"!"


@stacks
async def test_a_board_that_is_not_there(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutlayer_host.transports.ble.SCAN_SECONDS", 0.1)
    monkeypatch.setattr("cutlayer_host.transports.bumble_central.SCAN_SECONDS", 0.1)
    air = FaultyAir()
    async with peripheral_in(air):
        with pytest.raises(TransportError, match="ble://other: no such board") as caught:
            async with reach(stack, air, "ble://other"):
                pass
    assert caught.value.hint


@stacks
async def test_a_board_that_only_says_it_has_the_service(stack: str) -> None:
    air = FaultyAir()
    device = air.device("board")
    rx = Characteristic(RX, Characteristic.Properties.WRITE, Characteristic.WRITEABLE, b"")
    device.add_service(Service(SERVICE, [rx]))
    device.advertising_data = _advertising("cutlayer")[0]
    await device.power_on()
    await device.start_advertising(auto_restart=True)
    with pytest.raises(TransportError, match="no Nordic UART Service") as caught:
        async with reach(stack, air):
            pass
    assert caught.value.hint
    await device.power_off()


async def test_a_scan_lists_boards_and_nothing_else() -> None:
    air = FaultyAir()
    device, other = air.device("host"), air.device("headphones")
    await device.power_on()
    await other.power_on()
    await other.start_advertising()
    async with peripheral_in(air, "two"), peripheral_in(air, "one"):
        found = await scan_ble(0.3, scanner=backends(device, 247)["scanner"])
    assert found == [
        BlePeripheral("ble://F0:00:00:00:00:04", "one"),
        BlePeripheral("ble://F0:00:00:00:00:03", "two"),
    ]


class Broken(BumbleScanner):
    error: Exception

    async def start(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file"), "there is no system service for it"),
        (ConnectionRefusedError(111, "refused"), "refused"),
        (BleakBluetoothNotAvailableError("off", BleakBluetoothNotAvailableReason.POWERED_OFF), "off"),
    ],
)
async def test_a_computer_without_bluetooth_says_so(error: Exception, said: str) -> None:
    scanner = type("Broken", (Broken,), {"error": error})
    for attempt in (
        scan_ble(0.1, scanner=scanner),
        BleTransport(BleTarget.parse("ble://x"), scanner=scanner).open(),
    ):
        with pytest.raises(
            TransportError, match=f"Bluetooth cannot be used on this computer: .*{said}"
        ) as caught:
            await attempt
        assert caught.value.hint
        assert "\n" not in str(caught.value)


@asynccontextmanager
async def controller_at_a_port(air: FaultyAir) -> AsyncIterator[str]:
    """What a Bluetooth dongle is to a process: a controller behind a byte stream."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        served = await open_tcp_server_transport_with_socket(listening)
        Controller("dongle", served.source, served.sink, link=air, public_address="F0:00:00:00:00:DD")
        yield f"tcp-client:127.0.0.1:{port}"
        served.server.close()
        await served.server.wait_closed()


async def test_a_url_may_name_a_controller() -> None:
    air = FaultyAir()
    async with peripheral_in(air) as board, controller_at_a_port(air) as controller:
        host = await open_transport(f"ble://cutlayer?hci={controller}")
        await asyncio.gather(host.write(DATA), board.write(DATA))
        assert await read_exactly(board, len(DATA)) == DATA
        assert await read_exactly(host, len(DATA)) == DATA
        await host.close()


@pytest.mark.parametrize("hci", ["tcp-client:127.0.0.1:1", "nonsense:0", "tcp-client:nowhere"])
async def test_a_controller_that_cannot_be_opened(hci: str) -> None:
    with pytest.raises(TransportError, match="cannot open the Bluetooth controller") as caught:
        await open_transport(f"ble://cutlayer?hci={hci}")
    assert caught.value.hint


async def test_a_controller_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutlayer_host.transports.bumble_central.EXCHANGE_SECONDS", 0.1)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TransportError, match="controller") as caught:
            await open_transport(f"ble://cutlayer?hci=tcp-client:127.0.0.1:{port}")
        assert caught.value.hint


def test_without_bumble_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bumble.core", None)
    monkeypatch.delitem(sys.modules, "cutlayer_host.transports.bumble_central", raising=False)
    with pytest.raises(TransportError, match="needs bumble") as caught:
        asyncio.run(open_transport("ble://cutlayer?hci=usb:0"))
    assert "pip install 'cutlayer[bumble]'" in str(caught.value.hint)


async def test_devices_greets_the_boards_that_a_scan_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    air = FaultyAir()
    device = air.device("host")
    await device.power_on()
    hooks = iter(["scanner", "scanner", "client"])
    monkeypatch.setattr(
        ble, "_backend", lambda _hook: {"backend": backends(device, 247)[next(hooks, "scanner")]}
    )
    monkeypatch.setattr(ble, "LIST_SECONDS", 0.2)
    monkeypatch.setattr("cutlayer_host.transports.serial_ports", list)
    peripheral = BumblePeripheral(air.device("board"))
    await peripheral.start()
    pump = double_board().serve(peripheral)
    pump.start()
    (found,), no_bluetooth = await _greet_all((), None, None)
    await pump.close()
    assert found["title"] == "cutlayer"
    assert found["url"] == "ble://F0:00:00:00:00:02"
    assert found["recordings"] == RECORDINGS
    assert no_bluetooth is None


def test_devices_says_in_a_line_that_there_is_no_bluetooth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scanner = type("Broken", (Broken,), {"error": FileNotFoundError(2, "No such file")})
    monkeypatch.setattr(ble, "_backend", lambda _hook: {"backend": scanner})
    monkeypatch.setattr("cutlayer_host.transports.serial_ports", list)
    said = "Bluetooth cannot be used on this computer: there is no system service for it"
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"devices": [], "no_bluetooth": said}
    assert main(["devices"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == said


class FullController(EventEmitter):
    """A connection whose controller has taken all that it can, and the device it belongs to."""

    EVENT_DISCONNECTION = "disconnection"
    handle = 1

    def __init__(self) -> None:
        super().__init__()
        self.queue = DataPacketQueue(27, 1, lambda _packet: None)
        self.queue.enqueue(HCI_AclDataPacket(1, 0, 0, 1, b"x"), self.handle)
        self.host = self

    def get_data_packet_queue(self, _handle: int) -> DataPacketQueue:
        return self.queue


@pytest.mark.parametrize("end", ["host", "board"])
async def test_who_waits_for_room_hears_that_the_connection_has_ended(end: str) -> None:
    """bumble empties its queue then, and tells nobody."""
    full: Any = FullController()
    nobody: Any = None
    carrier = (
        BumbleCarrier(full, nobody, full.queue, asyncio.Event())
        if end == "host"
        else _Subscriber(cast("Any", GattPipe("ble://board")), full, full, nobody)
    )
    assert not await carrier.send(b"refused")
    waiting = asyncio.create_task(carrier.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    full.emit(full.EVENT_DISCONNECTION, 8)
    await asyncio.wait_for(waiting, 10)
    with pytest.raises(CarrierGone):
        await carrier.send(b"late")
