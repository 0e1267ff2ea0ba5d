"""A live microphone of an emulated board: a file that grows, heard from the moment that the host asks."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from emulation_host import configure_adam
from spoken_words import spoken_word
from word_library import CHUNK, PREROLL_CHUNKS, onset_chunk

from cutlayer_boards.build import build_firmware
from cutlayer_boards.emulator import emulate
from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import board
from cutlayer_host.codes import LIVE_RECORDING, Flag
from cutlayer_host.opening import connect
from cutlayer_kws.features import features

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_host.device import Device
    from cutlayer_host.smashed_data import SmashedData

SECOND = 16000


def scene(word: str, seed: int) -> np.ndarray:
    """A word between silences, in noise."""
    said = spoken_word(word) * 8000
    sound = np.concatenate([np.zeros(SECOND), said, np.zeros(SECOND)])
    return (sound + np.random.default_rng(seed).normal(0, 100, len(sound))).astype("<i2")


async def hear(device: Device, live: Path, sound: np.ndarray, *, part: int) -> SmashedData:
    """Asks for a sample, and says the same over and over, `part` bytes at a time, until it comes."""
    data = sound.tobytes()
    position = 0
    heard = asyncio.create_task(device.sample(1, LIVE_RECORDING, train=False))
    with live.open("ab", buffering=0) as file:
        while not heard.done():
            file.write(data[position : position + part])
            position = (position + part) % len(data) if position + part < len(data) else 0
            await asyncio.sleep(0.001)
    return await heard


def possible_recordings(sound: np.ndarray, first_samples: range) -> list[np.ndarray]:
    """What may be heard by a board that begins to listen at one of these samples."""
    twice = np.concatenate([sound, sound, sound])
    begins = set()
    for first in first_samples:
        chunk = onset_chunk(twice[first:])
        assert chunk is not None
        begins.add(first + max(chunk + 1 - PREROLL_CHUNKS, 0) * CHUNK)
    return [features(twice[begin : begin + SECOND].astype(np.int16)).ravel() for begin in sorted(begins)]


async def test_a_word_is_heard_whole(each_board, build, listener_bundle, tmp_path):
    live = tmp_path / "a live, microphone.pcm"
    sound = scene("seven", 1)
    sound = sound[: len(sound) // CHUNK * CHUNK]
    firmware = build(each_board, listener_bundle)
    async with emulate(each_board, firmware, live=live) as node, connect(node.url, key=node.key) as device:
        assert device.welcome.flags & Flag.LIVE_SENSOR
        assert device.welcome.recordings == 0
        await device.configure(configure_adam(cut=0))
        values = (await hear(device, live, sound, part=2 * CHUNK * 10)).values
    possible = possible_recordings(sound, range(0, len(sound), CHUNK * 10))
    assert any(np.array_equal(values, recording) for recording in possible)


async def test_samples_may_come_in_any_pieces(native, build, listener_bundle, tmp_path):
    """Half a sample too; what was there before is not heard."""
    live = tmp_path / "live.pcm"
    sound = scene("no", 2)
    live.write_bytes(scene("yes", 3).tobytes())
    async with (
        emulate(native, build(native, listener_bundle), live=live) as node,
        connect(node.url, key=node.key) as device,
    ):
        await device.configure(configure_adam(cut=0))
        quiet = np.random.default_rng(4).normal(0, 100, 2 * SECOND).astype("<i2").tobytes()
        heard = asyncio.create_task(hear(device, live, np.frombuffer(quiet, "<i2"), part=4999))
        done, _ = await asyncio.wait([heard], timeout=1)
        assert not done  # noise is no word
        with live.open("ab", buffering=0) as file:
            file.write(sound.tobytes())
        smashed = await heard
    assert len(np.unique(smashed.values)) > 20


async def test_recordings_and_a_live_microphone_live_together(each_board, build, listener_bundle, tmp_path):
    recordings = tmp_path / "some recordings.pcm"
    stored = scene("stop", 5)[: 2 * SECOND]
    recordings.write_bytes(stored.tobytes())
    live = tmp_path / "live.pcm"
    sound = scene("go", 6)
    firmware = build(each_board, listener_bundle)
    async with (
        emulate(each_board, firmware, recordings, live=live) as node,
        connect(node.url, key=node.key) as device,
    ):
        assert device.welcome.recordings == 2
        await device.configure(configure_adam(cut=0))
        await hear(device, live, sound, part=3200)
        values = (await device.sample(2, 1, train=False)).values
    np.testing.assert_array_equal(values, features(stored[SECOND:].astype(np.int16)).ravel())


async def test_a_board_that_listens_keeps_its_link_and_can_be_left(
    each_board, build, listener_bundle, tmp_path
):
    """The next host finds it ready, and it hears that host's word."""
    live = tmp_path / "live.pcm"
    firmware = build(each_board, listener_bundle)
    async with emulate(each_board, firmware, live=live) as node:
        async with connect(node.url, key=node.key) as device:
            await device.configure(configure_adam(cut=0))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(device.sample(1, LIVE_RECORDING, train=False), 0.5)
        async with connect(node.url, key=node.key) as device:
            await device.configure(configure_adam(cut=0))
            assert len((await hear(device, live, scene("left", 7), part=3200)).values) == 49 * 40


async def test_the_file_must_be_one_that_can_grow(native, build, listener_bundle, tmp_path):
    with pytest.raises(BoardError, match="is not a file that grows"):
        async with emulate(native, build(native, listener_bundle), live=tmp_path):
            pass
    with pytest.raises(BoardError, match="cannot be made"):
        async with emulate(native, build(native, listener_bundle), live=tmp_path / "no" / "folder"):
            pass
    pipe = tmp_path / "live.fifo"
    os.mkfifo(pipe)
    with pytest.raises(BoardError, match="is not a file that grows"):
        async with emulate(board("qemu_mps2_an386"), build(native, listener_bundle), live=pipe):
            pass


async def test_a_named_pipe_is_heard_live_and_its_writer_never_waits(native, listener_bundle, tmp_path):
    """As arecord writes: in real time, also while nobody listens; nothing is kept."""
    live = tmp_path / "live.fifo"
    os.mkfifo(live)
    quiet = np.random.default_rng(8).normal(0, 100, SECOND).astype("<i2").tobytes()
    sound = scene("no", 9)
    firmware = build_firmware(native, listener_bundle, sanitize=True)
    async with emulate(native, firmware, live=live) as node, connect(node.url, key=node.key) as device:
        writer = os.open(live, os.O_WRONLY | os.O_NONBLOCK)
        try:
            for _ in range(2):
                before = scene("yes", 10).tobytes() + b"\0"  # half a sample too
                await write_all(writer, before * 2 + quiet * 4)
                await device.configure(configure_adam(cut=0))
                asked = asyncio.create_task(device.sample(1, LIVE_RECORDING, train=False))
                done, _ = await asyncio.wait([asked], timeout=0.5)
                assert not done  # what was written before is not heard
                await write_all(writer, sound.tobytes())
                values = (await asked).values
                possible = possible_recordings(sound, range(1))
                assert any(np.array_equal(values, recording) for recording in possible)
        finally:
            os.close(writer)
    assert live.is_fifo()


async def write_all(descriptor: int, data: bytes) -> None:
    """Writes to a pipe of 64 KB in small parts; fails when the reader leaves it full for seconds."""
    async with asyncio.timeout(10):
        for first in range(0, len(data), 1999):
            part = data[first : first + 1999]
            while part:
                try:
                    part = part[os.write(descriptor, part) :]
                except BlockingIOError:
                    await asyncio.sleep(0.005)
