"""Boards that are reached over Bluetooth without a radio train to the same bits as over their UART."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from emulation_host import configure_adam, lesson, read_all, train
from faulty_air import WAYS, FaultyAir, ble_board

from cutlayer_boards.emulator import emulate
from cutlayer_host.device import Device
from cutlayer_host.opening import connect
from cutlayer_host.transports.bumble_central import BumbleTransport
from cutlayer_host.transports.nordic_uart import BleTarget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RECORDINGS = 16
STEPS = lesson(steps=40, batch=2, recordings=RECORDINGS)
CUTS = {23: (150, 800, 1500, 1501, 2400), 247: (40, 120, 121, 200, 300)}


async def lesson_over(device: Device) -> dict[str, bytes]:
    await device.configure(configure_adam(device.welcome.cut_count - 1))
    await train(device, STEPS)
    return await read_all(device)


@pytest.fixture
async def over_uart(native, build, tiny_bundle, tiny_microphone) -> AsyncIterator[dict[str, bytes]]:
    firmware = build(native, tiny_bundle)
    async with emulate(native, firmware, tiny_microphone) as node, connect(node.url, key=node.key) as device:
        yield await lesson_over(device)


@pytest.mark.parametrize("mtu", [23, 247])
async def test_lost_notifications_and_cut_links_change_no_bit(
    each_board, build, tiny_bundle, tiny_microphone, over_uart: dict[str, bytes], mtu: int
) -> None:
    firmware = build(each_board, tiny_bundle)
    air = FaultyAir(loss=0.01, cuts=CUTS[mtu])
    host = air.device("host")
    await host.power_on()
    async with emulate(each_board, firmware, tiny_microphone) as node, ble_board(node.url, air):
        transport = BumbleTransport(BleTarget.parse("ble://cutlayer"), host, mtu=mtu)
        await transport.open()
        device = await Device.open(transport, key=node.key)
        try:
            assert await lesson_over(device) == over_uart
        finally:
            await device.close()
    assert air.cuts_made == [*WAYS, *WAYS][:5]
    assert air.lost > 0
    assert air.longest_bytes == mtu - 3
