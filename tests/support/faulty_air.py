"""An air that loses notifications and cuts links, and emulated boards that are reached through it."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from bumble.hci import HCI_ErrorCode, Role

from cutlayer_host.transports import open_transport
from cutlayer_host.transports.bridge import bridge
from cutlayer_host.transports.bumble_air import PACKET_BYTES, Air
from cutlayer_host.transports.bumble_peripheral import BumblePeripheral

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bumble.controller import Controller
    from bumble.device import Connection, Device

ATT_CHANNEL = b"\x04\x00"
VALUE_OFFSET = 7
"""In a packet: lengths and channel, the operation, the characteristic's handle."""
NOTIFICATION, WRITE_COMMAND = 0x1B, 0x52
WAYS = ("host", "board", "radio")
"""Who ends a link."""


class FaultyAir(Air):
    """Loses `loss` of the notifications and `write_loss` of the writes.

    At each number of values in `cuts`, both ways together, it ends the link: the host does, the board does,
    or the radio is silent, in turn.
    """

    def __init__(
        self,
        *,
        loss: float = 0.0,
        write_loss: float = 0.0,
        cuts: tuple[int, ...] = (),
        seed: int = 0,
        packet_bytes: int = PACKET_BYTES,
    ) -> None:
        super().__init__()
        self.values = 0
        self.longest_bytes = 0
        self.longest_queue = 0
        self.lost = 0
        self.cuts_made: list[str] = []
        self.devices: list[Device] = []
        self._loss = {NOTIFICATION: loss, WRITE_COMMAND: write_loss}
        self._cuts = set(cuts)
        self._packet_bytes = packet_bytes
        self._ways = itertools.cycle(WAYS)
        self._random = {kind: random.Random(f"air {kind} {seed}") for kind in self._loss}
        self._tasks: set[asyncio.Task[None]] = set()

    def device(self, name: str, *, packet_bytes: int | None = None) -> Device:
        device = super().device(name, packet_bytes=packet_bytes or self._packet_bytes)
        self.devices.append(device)
        return device

    def send_acl_data(
        self, sender_controller: Controller, destination_address: Any, transport: Any, data: bytes
    ) -> None:
        if data[2:4] == ATT_CHANNEL and data[4] in self._loss:
            self.values += 1
            self.longest_bytes = max(self.longest_bytes, len(data) - VALUE_OFFSET)
            self.longest_queue = max(self.longest_queue, *self._queues())
            if self.values in self._cuts:
                task = asyncio.create_task(self.cut(next(self._ways)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if self._random[data[4]].random() < self._loss[data[4]]:
                self.lost += 1
                return
        super().send_acl_data(sender_controller, destination_address, transport, data)

    async def cut(self, way: str) -> None:
        """Ends every connection, and returns when both ends know."""
        self.cuts_made.append(way)
        known = []
        for connection in self._connections():
            known.append(asyncio.get_running_loop().create_future())
            connection.on(connection.EVENT_DISCONNECTION, known[-1].set_result)
        if way == "radio":
            for controller in self.controllers:
                for link in list(controller.le_connections.values()):
                    controller.on_le_disconnected(link, HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
        else:
            role = Role.CENTRAL if way == "host" else Role.PERIPHERAL
            for connection in self._connections():
                if connection.role == role:
                    await connection.disconnect()
        await asyncio.gather(*known)

    def _connections(self) -> list[Connection]:
        return [connection for device in self.devices for connection in device.connections.values()]

    def _queues(self) -> list[int]:
        """Packets that each host has handed to its controller, or would like to."""
        queues = [
            device.host.get_data_packet_queue(handle)
            for device in self.devices
            for handle in device.connections
        ]
        return [queue.pending for queue in queues if queue is not None] or [0]


@asynccontextmanager
async def ble_board(url: str, air: Air, name: str = "cutlayer") -> AsyncIterator[BumblePeripheral]:
    """Gives the board whose UART is at `url` a Bluetooth."""
    peripheral = BumblePeripheral(air.device("board"), name)
    async with bridge(peripheral, await open_transport(url)):
        await peripheral.start()
        yield peripheral
