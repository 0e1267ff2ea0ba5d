"""Boards in Renode, where `renode` is on PATH: 20 steps of training give native's weights."""

from __future__ import annotations

import shutil

import pytest
from emulation_host import configure_sgd, lesson, read_all, train

from cutlayer_boards.emulator import emulate
from cutlayer_boards.renode import INSTALL, has_script
from cutlayer_boards.spec import board, boards
from cutlayer_host.opening import connect

pytestmark = [
    pytest.mark.renode,
    pytest.mark.skipif(shutil.which("renode") is None, reason=f"renode is not on PATH: {INSTALL}"),
]
STEPS = lesson(steps=20, batch=2, recordings=16)


@pytest.mark.parametrize("name", [spec.name for spec in boards() if has_script(spec)])
async def test_twenty_steps_give_the_weights_of_native(build, tiny_bundle, tiny_microphone, name) -> None:
    found = {}
    for spec in (board("native"), board(name)):
        firmware = build(spec, tiny_bundle)
        async with (
            emulate(spec, firmware, tiny_microphone, in_renode=spec.name == name) as node,
            connect(node.url, key=node.key) as device,
        ):
            assert device.welcome.board == spec.name[:16]  # WELCOME has no room for more
            await device.configure(configure_sgd(cut=2))
            crc = await train(device, STEPS)
            found[spec.name] = (crc, await read_all(device, 5))
    assert found[name] == found["native"]


async def test_what_was_saved_in_flash_is_there_after_a_reset(build, tiny_bundle, tiny_microphone) -> None:
    spec = board("nrf52840dk")
    async with emulate(spec, build(spec, tiny_bundle), tiny_microphone, in_renode=True) as node:
        async with connect(node.url, key=node.key) as device:
            await device.configure(configure_sgd(cut=2))
            await train(device, STEPS[:5])
            await device.save(5)
            kept = await read_all(device, 5)
            await train(device, STEPS[:7], first=6)
        assert node.process.stdin is not None
        node.process.stdin.write(b"machine Reset\n")
        async with connect(node.url, key=node.key) as device:
            assert device.welcome.last_step == 5
            assert await read_all(device, 5) == kept
