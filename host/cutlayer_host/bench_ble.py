"""Goodput of the Bluetooth transport over a virtual link: `cutlayer bench ble`.

There is no radio: two bumble devices in this process, with bumble's own controllers between them. So the
figure to look at is the share of what bumble itself carries between two plain devices, measured in turn
with ours: what chunking, back-pressure and the byte pipe cost. On a shared machine one run says little:
runs are short, and the median of the shares of many pairs of runs counts.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from cutlayer_host.commands.options import json_option

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bumble.device import Connection, Device
    from bumble.gatt import Characteristic
    from bumble.gatt_client import CharacteristicProxy

    from cutlayer_host.transports import Transport

MTUS = (23, 247)
PLAIN_PENDING = 32
"""Packets that the plain devices let wait: enough to keep the controllers busy."""


@dataclass(frozen=True, slots=True)
class Goodput:
    """One direction at one MTU: medians over the runs, and the median of the share of each pair of runs."""

    direction: str
    mtu: int
    values: int
    runs: int
    bytes_per_second: float
    plain_bytes_per_second: float
    fraction: float


async def measure(mtu: int, *, values: int = 200, runs: int = 41) -> list[Goodput]:
    """Carries `values` longest values each way, `runs` times through the transport and through bumble."""
    data = bytes(values * (mtu - 3))
    transport = await _Ours.open(mtu)
    plain = await _Plain.open(mtu)
    goodputs = []
    for direction in ("down", "up"):
        ours: list[float] = []
        theirs: list[float] = []
        # The first pair warms up. Each goes first as often as second: load comes and goes.
        pairs = [(transport.carry, ours), (plain.carry, theirs)]
        for _ in range(runs + 1):
            for carry, seconds in pairs:
                seconds.append(await carry(direction, data))
            pairs.reverse()
        fractions = [them / us for us, them in zip(ours[1:], theirs[1:], strict=True)]
        goodputs.append(
            Goodput(
                direction,
                mtu,
                values,
                runs,
                len(data) / statistics.median(ours[1:]),
                len(data) / statistics.median(theirs[1:]),
                statistics.median(fractions),
            )
        )
    await transport.close()
    await plain.close()
    return goodputs


class _Ours:
    """A BumbleTransport and a BumblePeripheral."""

    def __init__(self, host: Transport, board: Transport, device: Device) -> None:
        self._ends = {"host": host, "board": board}
        self._device = device

    @classmethod
    async def open(cls, mtu: int) -> _Ours:
        from cutlayer_host.transports.bumble_air import Air
        from cutlayer_host.transports.bumble_central import BumbleTransport
        from cutlayer_host.transports.bumble_peripheral import BumblePeripheral
        from cutlayer_host.transports.nordic_uart import BleTarget

        air = Air()
        board = BumblePeripheral(air.device("board"))
        await board.start()
        device = air.device("host")
        await device.power_on()
        host = BumbleTransport(BleTarget.parse(board.url), device, mtu=mtu)
        await host.open()
        return cls(host, board, device)

    async def carry(self, direction: str, data: bytes) -> float:
        """Returns the seconds that it took."""
        source, sink = ("host", "board") if direction == "down" else ("board", "host")

        async def take() -> None:
            left = len(data)
            while left:
                left -= len(await self._ends[sink].read(left))

        started = time.perf_counter()
        taking = asyncio.create_task(take())
        await self._ends[source].write(data)
        await taking
        return time.perf_counter() - started

    async def close(self) -> None:
        for end in self._ends.values():
            await end.close()
        await self._device.power_off()


class _Plain:
    """Two bumble devices and nothing of ours: values are written and notified, counted where they arrive."""

    def __init__(
        self,
        board: Device,
        host: Device,
        tx: Characteristic[bytes],
        connections: tuple[Connection, Connection],
        rx: CharacteristicProxy[bytes],
    ) -> None:
        self._board = board
        self._host = host
        self._tx = tx
        self._at_board, self._at_host = connections
        self._rx = rx
        self._left = 0
        self._all = asyncio.Event()

    @classmethod
    async def open(cls, mtu: int) -> _Plain:
        from bumble.device import Peer
        from bumble.gatt import Characteristic, CharacteristicValue, Service

        from cutlayer_host.transports.bumble_air import Air
        from cutlayer_host.transports.nordic_uart import DEFAULT_MTU, RX, SERVICE, TX

        air = Air()
        board, host = air.device("board"), air.device("host")
        counter: list[_Plain] = []
        properties = Characteristic.Properties
        tx: Characteristic[bytes] = Characteristic(TX, properties.NOTIFY, Characteristic.READABLE)
        rx: Characteristic[bytes] = Characteristic(
            RX,
            properties.WRITE_WITHOUT_RESPONSE,
            Characteristic.WRITEABLE,
            CharacteristicValue(write=lambda _, value: counter[0].count(value)),
        )
        board.add_service(Service(SERVICE, [rx, tx]))
        arrived: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        board.on(board.EVENT_CONNECTION, arrived.set_result)
        await board.power_on()
        await host.power_on()
        await board.start_advertising()
        connection = await host.connect(board.random_address)
        peer = Peer(connection)
        if mtu > DEFAULT_MTU:
            await peer.request_mtu(mtu)
        (service,) = await peer.discover_service(SERVICE)
        await service.discover_characteristics()
        remote_rx, remote_tx = service.characteristics
        await remote_tx.subscribe(lambda value: counter[0].count(value))
        counter.append(cls(board, host, tx, (await arrived, connection), remote_rx))
        return counter[0]

    def count(self, value: bytes) -> None:
        self._left -= len(value)
        if self._left <= 0:
            self._all.set()

    async def carry(self, direction: str, data: bytes) -> float:
        """Returns the seconds that it took."""
        device, connection, send = self._sender(direction)
        queue = device.host.get_data_packet_queue(connection.handle)
        assert queue is not None
        most = connection.att_mtu - 3
        self._left = len(data)
        self._all.clear()
        started = time.perf_counter()
        for first in range(0, len(data), most):
            await send(data[first : first + most])
            while queue.pending > PLAIN_PENDING:  # noqa: ASYNC110 - the quickest way that bumble leaves
                await asyncio.sleep(0)
        await self._all.wait()
        return time.perf_counter() - started

    def _sender(self, direction: str) -> tuple[Device, Connection, Callable[[bytes], Awaitable[None]]]:
        if direction == "down":
            return self._host, self._at_host, self._rx.write_value
        return (
            self._board,
            self._at_board,
            lambda value: self._board.notify_subscriber(self._at_board, self._tx, value),
        )

    async def close(self) -> None:
        await self._at_host.disconnect()
        await self._board.power_off()
        await self._host.power_off()


@click.command()
@click.option("--values", type=click.IntRange(1), default=200, show_default=True, help="Sent in each run.")
@click.option("--runs", type=click.IntRange(1), default=41, show_default=True, help="Of each kind.")
@json_option
def ble(values: int, runs: int, as_json: bool) -> None:
    """Measure the goodput of the Bluetooth transport.

    Over a link in memory, beside plain bumble's.
    """
    from cutlayer_boards.console import console, print_json, progress

    try:
        import bumble  # noqa: F401
    except ImportError as error:
        from cutlayer_host.errors import TransportError

        raise TransportError("this bench needs bumble", "pip install 'cutlayer[bumble]'") from error

    goodputs: list[Goodput] = []
    with progress() as bar:
        task = bar.add_task("carrying bytes", total=len(MTUS))
        for mtu in MTUS:
            goodputs += asyncio.run(measure(mtu, values=values, runs=runs))
            bar.update(task, advance=1)
    if as_json:
        print_json({"goodput": [asdict(goodput) for goodput in goodputs]})
        return
    from rich.table import Table

    table = Table("MTU", "direction", "kB/s", "plain bumble", "share")
    for goodput in goodputs:
        table.add_row(
            str(goodput.mtu),
            goodput.direction,
            f"{goodput.bytes_per_second / 1000:.0f}",
            f"{goodput.plain_bytes_per_second / 1000:.0f}",
            f"{goodput.fraction:.1%}",
        )
    console().print(table)
