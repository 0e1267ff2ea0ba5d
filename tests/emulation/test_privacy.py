"""A look at every byte of the link: what the microphone hears is on the board's own side and stays there."""

from __future__ import annotations

import numpy as np
import pytest
from cobs import cobs
from ear import Ear
from emulation_host import configure_adam, gradient, lesson

from cutlayer_boards.emulator import emulate
from cutlayer_host.device import Device
from cutlayer_host.errors import DeviceError
from cutlayer_host.opening import connect
from cutlayer_host.transports import open_transport

SAMPLES = 16000
RECORDINGS = 4
WINDOW = 6
"""Bytes in a row that no chance repeats: the link carries some 10^4 of 2^48 such windows."""


def windows(data: bytes) -> set[bytes]:
    """All runs of WINDOW bytes."""
    return {data[i : i + WINDOW] for i in range(len(data) - WINDOW + 1)}


def on_the_link(raw: bytes) -> list[bytes]:
    """The bytes as they are, and without COBS."""
    return [raw, *(cobs.decode(frame) for frame in raw.split(b"\0") if frame)]


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Loud noise, int16 [RECORDINGS, SAMPLES]: no two runs of it are alike."""
    return np.random.default_rng(11).integers(-32768, 32768, (RECORDINGS, SAMPLES)).astype("<i2")


async def test_no_audio_crosses_the_link(each_board, build_plain, listener_bundle, sound, tmp_path):
    """Even with a head that gives its input away, and through training steps."""
    microphone = tmp_path / "microphone.pcm"
    microphone.write_bytes(sound.tobytes())
    async with emulate(each_board, build_plain(each_board, listener_bundle), microphone) as node:
        tap = Ear(await open_transport(node.url))
        device = await Device.open(tap, key=node.key)
        await device.configure(configure_adam(cut=0))
        for step, (visit,) in enumerate(lesson(steps=4, batch=1, recordings=RECORDINGS), 1):
            smashed = await device.sample(step, visit.recording, train=True)
            device.gradient(smashed, gradient(visit, smashed.masked), 1e-6)
            await device.apply(step, 1, 1e-6)
        await device.close()
    heard = windows(sound.tobytes()) | windows(sound.byteswap().tobytes())
    heard |= windows((sound >> 8).astype(np.int8).tobytes()) | windows(
        (sound & 255).astype(np.uint8).tobytes()
    )
    for part in [*on_the_link(bytes(tap.up)), *on_the_link(bytes(tap.down))]:
        assert not windows(part) & heard
    codes = (smashed.values[:WINDOW].astype(np.int16) + 128).astype(np.uint8)
    assert any(
        codes.tobytes() in part for part in on_the_link(bytes(tap.up))
    )  # what does cross would be seen
    # Four times the smashed data and a quarter for the rest: there is no room for a recording.
    assert len(tap.up) < 4 * 1.25 * smashed.values.size < sound[0].nbytes


async def test_a_host_gets_no_cut_nearer_to_the_input_than_the_bundle_says(
    each_board, build, tiny_bundle, tiny_microphone
):
    """In no mode; the bundle names its second cut of three as the shallowest."""
    firmware = build(each_board, tiny_bundle)
    async with (
        emulate(each_board, firmware, tiny_microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        with pytest.raises(DeviceError, match="refused CONFIGURE: LIMIT") as raised:
            await device.configure(configure_adam(cut=0))
        assert "--shallowest-cut" in (raised.value.hint or "")
        await device.configure(configure_adam(cut=1))
        await device.sample(1, 0, train=False)
