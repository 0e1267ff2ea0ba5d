"""A board that is killed at any moment goes on from what its storage holds: the same weights to the bit."""

from __future__ import annotations

import asyncio
import random
import resource
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from emulation_host import configure_adam, configure_sgd, lesson, read_all, train

from cutlayer_boards.emulator import Node, emulate
from cutlayer_boards.errors import BoardError
from cutlayer_host.board_messages import RunStep
from cutlayer_host.codes import ErrorCode
from cutlayer_host.errors import DeviceError
from cutlayer_host.opening import connect

if TYPE_CHECKING:
    from cutlayer_host.device import Device
    from cutlayer_host.host_messages import Configure

RUN = 0xC0FFEE
STEPS = lesson(steps=20, batch=2, recordings=16)
MOMENTS = 25  # of a power cut
SLOTS = (256, 256 + ((1 << 20) - 256) // 2)  # of training, in the file of a native board
RECORD_BYTES = 1128


async def kill(node: Node) -> None:
    node.process.kill()
    await node.process.wait()


async def go_on(device: Device, configuration: Configure, step: int) -> None:
    """Takes the board back to a step that its storage holds."""
    await device.restore(RUN, step)
    assert (await device.configure(replace(configuration, restart=False))).last_step == step


@pytest.mark.parametrize("configure", [configure_sgd, configure_adam])
async def test_a_killed_board_goes_on_from_what_it_saved(
    each_board, build, tiny_bundle, tiny_microphone, tmp_path, configure
):
    firmware, configuration = build(each_board, tiny_bundle), replace(configure(cut=2), run=RUN)
    async with (
        emulate(each_board, firmware, tiny_microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        await device.configure(configuration)
        undisturbed_crc = await train(device, STEPS)
        undisturbed = await read_all(device)
    storage = tmp_path / "a storage, here"
    async with (
        emulate(each_board, firmware, tiny_microphone, storage=storage) as node,
        connect(node.url, key=node.key) as device,
    ):
        assert (device.welcome.held, device.welcome.saves) == ((), 0)
        await device.configure(configuration)
        await train(device, STEPS[:5])
        await device.save(5)
        weights_crc = await train(device, STEPS[:10], first=6)
        assert (await device.save(10)).saves == 2
        await train(device, STEPS[:12], first=11)
        await kill(node)
    async with (
        emulate(each_board, firmware, tiny_microphone, storage=storage) as node,
        connect(node.url, key=node.key) as device,
    ):
        welcome = device.welcome
        assert (welcome.run, welcome.last_step) == (RUN, 10)
        assert welcome.held == (RunStep(RUN, 10), RunStep(RUN, 5))
        assert (await device.restore(RUN, 10)).weights_crc == weights_crc
        await go_on(device, configuration, 5)
        assert await train(device, STEPS, first=6) == undisturbed_crc
        assert await read_all(device) == undisturbed


async def killed_amid_saves(native, firmware, microphone, storage, cut) -> None:
    """Trains a step and saves it, again and again; the board is killed amid each save, as `cut` says.

    `cut(node, target, saving)` is called when SAVE is on its way; `target` is where the older slot begins.
    """
    configuration = replace(configure_adam(cut=2), run=RUN)
    crcs: dict[int, int] = {}
    step = 0  # that the storage holds
    for _ in range(MOMENTS):
        async with (
            emulate(native, firmware, microphone, storage=storage) as node,
            connect(node.url, key=node.key) as device,
        ):
            assert device.welcome.last_step in (step, step + 1)
            step = device.welcome.last_step
            if step:
                assert (await device.restore(RUN, step)).weights_crc == crcs[step]
            await device.configure(replace(configuration, restart=step == 0))
            crcs[step + 1] = await train(device, STEPS[: step + 1], first=step + 1)
            saving = asyncio.create_task(device.save(step + 1))
            await cut(node, SLOTS[device.welcome.saves % 2], saving)
            await kill(node)
            await asyncio.gather(saving, return_exceptions=True)
        if step == len(STEPS) - 1:
            break


async def test_a_board_killed_at_some_moment_holds_that_state_or_the_one_before(
    native, build, tiny_bundle, tiny_microphone, tmp_path
):
    rng = random.Random(5)

    async def cut(*_) -> None:
        await asyncio.sleep(rng.uniform(0, 0.001))

    firmware = build(native, tiny_bundle)
    await killed_amid_saves(native, firmware, tiny_microphone, tmp_path / "storage", cut)


async def test_a_board_killed_at_some_byte_of_a_save_holds_the_state_before(
    native, build, tiny_bundle, tiny_microphone, tmp_path
):
    """The file takes no byte more from some place of the slot on: there the board is killed."""
    rng, storage = random.Random(6), tmp_path / "storage"
    whole: list[bool] = []

    async def cut(node, target, saving) -> None:
        whole.append(len(whole) % 5 == 4)
        if whole[-1]:
            await saving
            return
        end = target + rng.randrange(RECORD_BYTES)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (end, -1))
        with pytest.raises(DeviceError, match="STORAGE"):
            await saving

    firmware = build(native, tiny_bundle)
    await killed_amid_saves(native, firmware, tiny_microphone, storage, cut)
    async with (
        emulate(native, firmware, tiny_microphone, storage=storage) as node,
        connect(node.url, key=node.key) as device,
    ):
        assert device.welcome.saves == device.welcome.last_step == sum(whole) > 3


async def test_a_full_storage_is_an_error_and_the_board_goes_on(
    native, build, tiny_bundle, tiny_microphone, tmp_path
):
    firmware, configuration = build(native, tiny_bundle), replace(configure_sgd(cut=2), run=RUN)
    async with (
        emulate(native, firmware, tiny_microphone, storage=tmp_path / "storage") as node,
        connect(node.url, key=node.key) as device,
    ):
        await device.configure(configuration)
        await train(device, STEPS[:1])
        await device.save(1)
        before = (tmp_path / "storage").read_bytes()
        limits = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (len(before), -1))
        await train(device, STEPS[:2], first=2)
        with pytest.raises(DeviceError, match="refused SAVE: STORAGE") as caught:
            await device.save(2)
        assert caught.value.code == ErrorCode.STORAGE
        assert (tmp_path / "storage").read_bytes() == before
        await train(device, STEPS[:3], first=3)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, limits)
        assert (await device.save(3)).saves == 2
        await go_on(device, configuration, 1)


async def test_two_boards_do_not_share_a_storage(native, build, tiny_bundle, tmp_path):
    firmware = build(native, tiny_bundle)
    async with emulate(native, firmware, storage=tmp_path / "storage"):
        with pytest.raises(BoardError, match="another board runs with the storage"):
            async with emulate(native, firmware, storage=tmp_path / "storage"):
                pass
    with pytest.raises(BoardError, match="cannot be made"):
        async with emulate(native, firmware, storage=tmp_path / "none" / "storage"):
            pass
