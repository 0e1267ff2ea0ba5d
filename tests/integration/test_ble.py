"""Training over Bluetooth without a radio, against the real firmware as a process of this computer.

The board's UART is bridged to a Nordic UART Service in bumble's air, which loses notifications and cuts
links.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from bleak_over_bumble import backends
from faulty_air import WAYS, FaultyAir, ble_board
from tiny_board import RECORDINGS, TinyBoard

from cutlayer_boards.emulator import emulate
from cutlayer_boards.spec import board
from cutlayer_host.codes import Section
from cutlayer_host.device import Device
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.tail import Tail, TailSettings
from cutlayer_host.trainer import Trainer
from cutlayer_host.transports import open_transport
from cutlayer_host.transports.ble import BleTransport
from cutlayer_host.transports.bumble_central import BumbleTransport
from cutlayer_host.transports.nordic_uart import BleTarget
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cutlayer_boards.emulator import Node
    from cutlayer_host.transports import Transport

NATIVE = board("native")
SETTINGS = TrainSettings(batch_size=8, learning_rate=3e-3)
VISITS = [Visit(number * 5 % RECORDINGS) for number in range(160)]
TARGET = BleTarget.parse("ble://cutlayer")

Opener = "Callable[[], Awaitable[Transport]]"
Outcome = tuple[int | None, int, bytes, bytes]
"""CRCs of the board's and of the tail's weights, the board's master weights, its moments."""


async def train_over(tiny: TinyBoard, node: Node, open_pipe: Opener) -> tuple[Outcome, int]:
    """Trains, and connects anew whenever the link is lost; returns how often it had to."""
    opened = 0

    async def connect() -> Device:
        nonlocal opened
        opened += 1
        return await Device.open(await open_pipe(), key=node.key)

    async with TailWorker() as worker:
        tail = await worker.run(Tail.load, tiny.bundle / "tail.keras", TailSettings())
        trainer = Trainer(await connect(), tail, worker, SETTINGS, reconnect=connect)
        try:
            await trainer.start()
            report = await trainer.train(VISITS)
            sections = [await trainer.device.read(part) for part in (Section.MASTER, Section.MOMENT1)]
        finally:
            await trainer.device.close()
    return (report.weights_crc, report.tail_crc, *sections), opened


@asynccontextmanager
async def reached(air: FaultyAir, url: str, stack: str, mtu: int, **options: Any) -> AsyncIterator[Opener]:
    """Gives the board a Bluetooth; yields what opens a pipe to it."""
    device = air.device("host")
    await device.power_on()

    async def open_pipe() -> Transport:
        transport = (
            BumbleTransport(TARGET, device, mtu=mtu, **options)
            if stack == "bumble"
            else BleTransport(TARGET, **backends(device, mtu), **options)
        )
        await transport.open()
        return transport

    async with ble_board(url, air):
        yield open_pipe


@pytest.fixture(scope="module")
def over_socket(tiny: TinyBoard) -> Outcome:
    async def run() -> Outcome:
        async with emulate(NATIVE, tiny.firmware, tiny.microphone) as node:
            outcome, _ = await train_over(tiny, node, lambda: open_transport(node.url))
            return outcome

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("stack", "mtu", "cuts"),
    [
        ("bumble", 247, (31, 200, 201, 390, 600)),
        ("bumble", 23, (250, 1500, 1501, 4000, 6000)),
        ("bleak", 247, (77, 230, 360, 500, 720)),
    ],
)
async def test_lost_notifications_and_cut_links_change_nothing(
    tiny: TinyBoard, over_socket: Outcome, stack: str, mtu: int, cuts: tuple[int, ...]
) -> None:
    """The figure: five cuts and 1 % of the notifications lost give the same weights. No step is made anew:
    the pipe comes back, and the link above goes on where it was."""
    air = FaultyAir(loss=0.01, cuts=cuts)
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        reached(air, node.url, stack, mtu) as open_pipe,
    ):
        outcome, opened = await train_over(tiny, node, open_pipe)
    assert outcome == over_socket
    assert opened == 1
    assert air.cuts_made == [*WAYS, *WAYS][:5]
    assert air.lost >= 3
    assert air.longest_bytes == mtu - 3


async def test_writes_are_lost_too(tiny: TinyBoard, over_socket: Outcome) -> None:
    air = FaultyAir(loss=0.02, write_loss=0.02, seed=1)
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        reached(air, node.url, "bumble", 247) as open_pipe,
    ):
        outcome, _ = await train_over(tiny, node, open_pipe)
    assert outcome == over_socket
    assert air.lost > 10


async def test_a_board_that_was_away_too_long_is_connected_to_anew(
    tiny: TinyBoard, over_socket: Outcome
) -> None:
    """The pipe gives up at once: the trainer opens another, and finds out how far the board has come."""
    air = FaultyAir(cuts=(60, 200, 340, 480, 620))
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        reached(air, node.url, "bumble", 247, reconnect_seconds=0.0) as open_pipe,
    ):
        outcome, opened = await train_over(tiny, node, open_pipe)
    assert outcome == over_socket
    assert opened == len(air.cuts_made) + 1 == 6
