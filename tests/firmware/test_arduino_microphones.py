"""The Arduino port's microphones against stand-ins for the PDM library and the ESP32's I2S.

Neither library is to be had where cutlayer is tested. This holds the two files to their interfaces as the
libraries' sources have them (ArduinoCore-mbed 4, arduino-esp32 3); nothing here says that a microphone hears.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cffi import FFI
from core import FLAGS, INCLUDE, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PORT = ROOT / "firmware" / "port"
FAKE = ROOT / "tests" / "firmware" / "arduino_audio"
KINDS = ("pdm", "i2s")
CL_ERROR_SENSOR = -10
CHUNK = 160


class Microphone:
    def __init__(self, library: Path) -> None:
        self.ffi = FFI()
        self.ffi.cdef("""
            int32_t fake_start(void);
            int32_t fake_read(int16_t *samples, uint32_t count);
            void fake_stop(void);
            void fake_hear(uint32_t count, int32_t first);
            void fake_pass(uint32_t ms);
        """)
        self.lib: Any = self.ffi.dlopen(str(library))

    def hear(self, count: int, first: int = -1) -> None:
        """`count` samples more: as many as come in the time that passes."""
        self.lib.fake_pass(count // 16)
        self.lib.fake_hear(count, first)

    def read(self, count: int = CHUNK) -> list[int] | int:
        samples = self.ffi.new("int16_t[]", count)
        found = self.lib.fake_read(samples, count)
        return found if found < 0 else list(samples)[:found]

    def read_all(self) -> list[int]:
        samples: list[int] = []
        while found := self.read():
            assert isinstance(found, list)
            samples += found
        return samples


@pytest.fixture(scope="module", params=KINDS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = [flag for flag in FLAGS if not flag.startswith("-std")]
    includes = [f"-I{path}" for path in (FAKE, INCLUDE, PORT, PORT / "arduino")]
    sources = [PORT / "arduino" / f"microphone_{request.param}.cpp", FAKE / "library.cpp"]
    library = tmp_path_factory.mktemp(request.param) / "microphone.so"
    subprocess.run(["g++", "-std=gnu++11", *flags, *includes, "-shared", "-o", library, *sources], check=True)
    return library


@pytest.fixture
def microphone(library: Path, tmp_path: Path) -> Microphone:
    # A library of another name has state of its own.
    return Microphone(shutil.copy(library, tmp_path / "microphone.so"))


def test_samples_come_in_order_and_none_is_missed(microphone: Microphone) -> None:
    assert microphone.lib.fake_start() == 0
    assert microphone.read() == []
    heard = []
    for _ in range(100):
        microphone.hear(CHUNK)
        heard += microphone.read_all()
    assert heard == list(range(100 * CHUNK))


def test_a_pause_that_the_buffer_holds_loses_nothing(microphone: Microphone) -> None:
    assert microphone.lib.fake_start() == 0
    microphone.hear(1200)
    assert microphone.read_all() == list(range(1200))


def test_a_pause_that_is_too_long_is_said_until_it_starts_anew(microphone: Microphone) -> None:
    assert microphone.lib.fake_start() == 0
    microphone.hear(16000)
    assert microphone.read() == CL_ERROR_SENSOR
    assert microphone.read() == CL_ERROR_SENSOR
    assert microphone.lib.fake_start() == 0
    assert microphone.read() == []
    microphone.hear(CHUNK)
    assert microphone.read_all() == list(range(CHUNK))


@pytest.mark.parametrize("library", ["i2s"], indirect=True)
def test_what_is_too_loud_for_16_bits_is_cut(microphone: Microphone) -> None:
    assert microphone.lib.fake_start() == 0
    microphone.hear(4, first=32766)
    assert microphone.read_all() == [32766, 32767, 32767, 32767]


def test_after_stop_it_hears_nothing(microphone: Microphone) -> None:
    assert microphone.lib.fake_start() == 0
    microphone.lib.fake_stop()
    assert microphone.read() in ([], CL_ERROR_SENSOR)
