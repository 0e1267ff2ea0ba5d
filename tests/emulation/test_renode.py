"""The STM32F4 Discovery in Renode, where `renode` is on PATH: 20 steps of training give native's weights."""

from __future__ import annotations

import shutil

import pytest
from emulation_host import configure_sgd, lesson, read_all, train

from cutlayer_boards.emulator import emulate
from cutlayer_boards.renode import INSTALL
from cutlayer_boards.spec import board
from cutlayer_host.device import connect

pytestmark = [
    pytest.mark.renode,
    pytest.mark.skipif(shutil.which("renode") is None, reason=f"renode is not on PATH: {INSTALL}"),
]
STEPS = lesson(steps=20, batch=2, recordings=16)


async def test_twenty_steps_give_the_weights_of_native(build, tiny_bundle, tiny_microphone) -> None:
    found = {}
    for name in ("native", "stm32f4_discovery"):
        spec = board(name)
        firmware = build(spec, tiny_bundle)
        in_renode = spec.emulator is None
        async with (
            emulate(spec, firmware, tiny_microphone, in_renode=in_renode) as node,
            connect(node.url) as device,
        ):
            assert device.welcome.board == name
            await device.configure(configure_sgd(cut=2))
            await train(device, STEPS)
            found[name] = await read_all(device, 5)
    assert found["stm32f4_discovery"] == found["native"]
