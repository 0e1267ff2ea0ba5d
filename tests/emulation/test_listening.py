"""From sound to the head's input: x86, the emulated Cortex-M4F and the Python package give the same bytes.

The bundle's head gives its input back unchanged, so that features can be seen; heads that people use do not.
"""

from __future__ import annotations

import io
import subprocess
import wave

import numpy as np
import pytest
from emulation_host import configure_adam

from cutlayer_boards.build import build_firmware
from cutlayer_boards.emulator import emulate
from cutlayer_host.opening import connect
from cutlayer_kws.features import features

SAMPLES = 16000
SAID = [
    ("en-us", "yes no", 140, 50),
    ("en-gb", "stop right", 200, 80),
    ("en-gb-scotland", "up down go", 170, 20),
]


def speech(voice: str, words: str, speed: int, pitch: int) -> np.ndarray:
    """One second of espeak-ng, int16 at 16 kHz."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", words]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(output)) as file:
        rate, data = file.getframerate(), file.readframes(file.getnframes())
    heard = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float64)
    times = np.arange(SAMPLES) * rate / 16000
    return np.interp(times, np.arange(heard.size), heard, right=0.0).astype(np.int16)


def sounds() -> np.ndarray:
    """int16 [count, 16000]: silence, noises, tones, full scale, and speech alone and in noise."""
    rng = np.random.default_rng(4)
    time = np.arange(SAMPLES) / 16000
    noise = rng.standard_normal(SAMPLES)
    made = [
        np.zeros(SAMPLES),
        np.full(SAMPLES, -32768.0),
        noise * 30,
        noise * 3000,
        np.clip(noise * 60000, -32768, 32767),
        20000 * np.sin(2 * np.pi * 300 * time * (1 + 10 * time)),
        np.where(rng.random(SAMPLES) < 0.5, -32768.0, 32767.0),
        *(speech(*said) for said in SAID),
        speech(*SAID[0]) + noise * 500,
    ]
    return np.stack([np.clip(sound, -32768, 32767).astype(np.int16) for sound in made])


@pytest.fixture(scope="module")
def recordings() -> np.ndarray:
    return sounds()


@pytest.fixture(scope="module")
def microphone(recordings, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "microphone.pcm"
    path.write_bytes(recordings.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def expected(recordings) -> np.ndarray:
    return np.stack([features(recording).ravel() for recording in recordings])


async def heard(spec, firmware, microphone, count: int) -> np.ndarray:
    async with emulate(spec, firmware, microphone) as node, connect(node.url, key=node.key) as device:
        assert device.welcome.recordings == count
        await device.configure(configure_adam(cut=0))
        # Backwards and twice: a recording leaves nothing behind for the next.
        backwards = {i: (await device.sample(i, i, train=False)).values for i in reversed(range(count))}
        for i in range(count):
            np.testing.assert_array_equal(
                (await device.sample(count + i, i, train=False)).values, backwards[i]
            )
        return np.stack([backwards[i] for i in range(count)])


async def test_features_are_those_of_the_package(each_board, build, listener_bundle, microphone, expected):
    found = await heard(each_board, build(each_board, listener_bundle), microphone, len(expected))
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > 100  # the sounds fill the range, so that equal means something


async def test_features_under_sanitizers(native, listener_bundle, microphone, expected):
    firmware = build_firmware(native, listener_bundle, sanitize=True)
    found = await heard(native, firmware, microphone, len(expected))
    np.testing.assert_array_equal(found, expected)


async def test_part_of_a_recording_is_none(native, build, listener_bundle, microphone, tmp_path):
    short = tmp_path / "short.pcm"
    short.write_bytes(microphone.read_bytes()[: 2 * SAMPLES * 2 - 2])
    async with (
        emulate(native, build(native, listener_bundle), short) as node,
        connect(node.url, key=node.key) as device,
    ):
        assert device.welcome.recordings == 1


async def test_microphone_of_a_listening_head_can_be_inputs(native, listener_bundle, tmp_path):
    inputs = np.random.default_rng(5).integers(-128, 128, (2, 49 * 40)).astype(np.int8)
    path = tmp_path / "inputs.bin"
    path.write_bytes(inputs.tobytes())
    firmware = build_firmware(native, listener_bundle, sensor="recorded")
    async with emulate(native, firmware, path) as node, connect(node.url, key=node.key) as device:
        await device.configure(configure_adam(cut=0))
        for i, values in enumerate(inputs):
            np.testing.assert_array_equal((await device.sample(i, i, train=False)).values, values)
