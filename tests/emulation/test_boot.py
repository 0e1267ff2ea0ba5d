"""Boards boot, are greeted, and end."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from emulation_host import configure_adam

from cutlayer_boards.build import build_firmware
from cutlayer_boards.emulator import emulate
from cutlayer_boards.errors import BoardError
from cutlayer_converter.bundle import load_manifest
from cutlayer_host.codes import LIVE_RECORDING
from cutlayer_host.errors import DeviceError, LinkLost
from cutlayer_host.opening import connect

RECORDINGS = 16
INSECURE = "WARNING: CUTLAYER_INSECURE: no keys, all is plain"


async def test_welcome_says_what_the_bundle_says(any_board, build, tiny_bundle, tiny_microphone):
    manifest = load_manifest(tiny_bundle)
    firmware = build(any_board, tiny_bundle)
    async with (
        emulate(any_board, firmware, tiny_microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        welcome = device.welcome
    assert welcome.board == any_board.name
    assert welcome.model_id.hex() == manifest.model_id
    assert welcome.recordings == RECORDINGS
    assert welcome.smashed_count == int(np.prod(manifest.cuts[-1].shape))
    assert welcome.output_scale == np.float32(manifest.cuts[-1].scale)
    assert welcome.last_step == 0


async def test_labels_come_from_the_file_beside_the_microphone(
    any_board, build, tiny_bundle, tiny_microphone
):
    firmware = build(any_board, tiny_bundle)
    async with (
        emulate(any_board, firmware, tiny_microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        await device.configure(configure_adam(cut=2))
        labels = [(await device.sample(i, i, train=False)).label for i in range(RECORDINGS)]
        with pytest.raises(DeviceError, match="SENSOR"):
            await device.sample(RECORDINGS, RECORDINGS, train=False)
        live = [(await device.sample(100 + i, LIVE_RECORDING, train=False)).label for i in range(3)]
    assert labels == [-1 if i == 5 or i >= RECORDINGS - 3 else i for i in range(RECORDINGS)]
    assert live == [0, 1, 2]


async def test_without_a_microphone_there_are_no_recordings(any_board, build, tiny_bundle):
    async with (
        emulate(any_board, build(any_board, tiny_bundle)) as node,
        connect(node.url, key=node.key) as device,
    ):
        assert device.welcome.recordings == 0


async def test_one_host_after_another(any_board, build, tiny_bundle, tiny_microphone):
    async with emulate(any_board, build(any_board, tiny_bundle), tiny_microphone) as node:
        for _ in range(3):
            async with connect(node.url, key=node.key) as device:
                await device.configure(configure_adam(cut=2))
                assert (await device.sample(1, 0, train=False)).values.size == device.welcome.smashed_count


@pytest.mark.parametrize(
    ("listen", "url"), [("tcp:127.0.0.1:0", "tcp://127.0.0.1:"), ("pty", "serial:///dev/")]
)
async def test_native_board_is_reached_elsewhere(native, build, tiny_bundle, tiny_microphone, listen, url):
    async with emulate(native, build(native, tiny_bundle), tiny_microphone, listen=listen) as node:
        assert node.url.startswith(url)
        async with connect(node.url, key=node.key) as device:
            assert device.welcome.recordings == RECORDINGS


async def test_native_board_ends_with_its_stdin(native, build, tiny_bundle):
    async with emulate(native, build(native, tiny_bundle)) as node:
        assert node.running
        node.process.stdin.close()
        assert await asyncio.wait_for(node.process.wait(), 10) == 0


@pytest.mark.parametrize("listen", ["tcp:nowhere", "unix:" + "x" * 200, "carrier pigeon"])
async def test_native_board_says_why_it_does_not_start(native, build, tiny_bundle, listen):
    with pytest.raises(BoardError, match="does not start: error: .*" + listen.split(":")[-1][:8]):
        await emulate(native, build(native, tiny_bundle), listen=listen).__aenter__()


async def test_no_board_outlives_its_block(any_board, build, tiny_bundle):
    seen = []

    async def fail_in_block() -> None:
        async with emulate(any_board, build(any_board, tiny_bundle)) as node:
            seen.extend([node, Path(node.url.removeprefix("unix://")).parent])
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        await fail_in_block()
    node, folder = seen
    assert not node.running
    assert not folder.exists()


async def test_a_crash_ends_the_board_and_is_in_its_log(any_board, tiny_bundle, tiny_microphone, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    for source in (bundle / "firmware").rglob("cutlayer_model.c"):
        text, count = re.subn(r"\{cl_conv2d\w*, &", "{(cl_kernel)0, &", source.read_text(), count=1)
        assert count == 1
        source.write_text(text)
    async with emulate(any_board, build_firmware(any_board, bundle), tiny_microphone) as node:
        async with connect(node.url, key=node.key) as device:
            await device.configure(configure_adam(cut=2))
            with pytest.raises(LinkLost):
                await device.sample(1, 0, train=False)
        await asyncio.wait_for(node.process.wait(), 10)
    assert node.process.returncode != 0
    plain = [INSECURE] if any_board.insecure else []
    assert node.log == plain + ([] if any_board.emulator == "native" else ["fault"])


async def test_missing_microphone_is_said(any_board, build, tiny_bundle, tmp_path):
    firmware = build(any_board, tiny_bundle)
    with pytest.raises(BoardError, match=r"nothing\.pcm"):
        await emulate(any_board, firmware, tmp_path / "nothing.pcm").__aenter__()


async def test_missing_qemu_is_said(qemu, build, tiny_bundle, monkeypatch):
    firmware = build(qemu, tiny_bundle)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BoardError) as raised:
        await emulate(qemu, firmware).__aenter__()
    assert raised.value.hint == "sudo apt-get install qemu-system-arm"


async def test_only_qemu_counts_instructions(native, build, tiny_bundle):
    firmware = build(native, tiny_bundle)
    with pytest.raises(BoardError, match="cannot count"):
        await emulate(native, firmware, count_instructions=True).__aenter__()
