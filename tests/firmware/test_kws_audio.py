"""firmware/lib/kws's sensor in C, in virtual time: how long it listens, and what it says when nothing comes.

The microphone is in Python; the front end is a stand-in (kws_frontend), because what it works out is not at
stake here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from core import ROOT, core_library

from cutlayer_host.codes import ErrorCode, SensorCode

KWS = ROOT / "firmware" / "lib" / "kws"
FAKE = ROOT / "tests" / "firmware" / "kws_frontend"
LIVE = 0xFFFFFFFF
DONE, WAITS = 1, 2
SAMPLES_A_MS = 16
LISTEN_MS, REST_MS = 10_000, 5_000
POLL_MS = 5
BROKEN = -137
INPUT_BYTES = 49 * 40


@cache
def audio_library() -> tuple[Any, Any]:
    sources = [KWS / "src" / f"{name}.c" for name in ("audio", "onset", "word")]
    return core_library([*sources, FAKE / "frontend.c"], ["kws/audio.h"], include=(KWS / "include",))


class Listener:
    """A sensor whose microphone gives `sound` as virtual time passes, and nothing after its end."""

    def __init__(self, sound: np.ndarray, now_ms: int = 2**32 - 3000) -> None:
        self.ffi, self.lib = audio_library()
        self.sound = sound.astype(np.int16)
        self.now_ms = now_ms  # wraps while it listens
        self.start_result, self.broken = 0, False
        self.is_open = False
        self.stops = 0
        self._began_ms = self._given = 0
        self.input = self.ffi.new("int8_t[]", INPUT_BYTES)
        self.label = self.ffi.new("int32_t *", 77)
        self.audio = self.ffi.new("struct kws_audio *")
        self.memory = self.ffi.new("struct kws_audio_work *")
        self._keep = self._parts()
        head, recordings, microphone, port = self._keep[-4:]
        assert self.lib.kws_audio_init(self.audio, recordings, head) == 0
        self.lib.kws_audio_listen(self.audio, microphone, port)

    def ask(self) -> int:
        """Asks for what is heard next. Returns what the sensor's `start` does."""
        sensor = self.audio.sensor
        assert sensor.memory_bytes == self.ffi.sizeof(self.memory[0])
        self.ffi.buffer(self.memory)[:] = b"\xa5" * sensor.memory_bytes  # whatever was there before
        return int(sensor.start(sensor.context, LIVE, self.memory))

    def wait(self) -> tuple[int, int]:
        """Steps as the node does until the sensor is done. Returns its last word, and the ms that passed."""
        sensor, began_ms = self.audio.sensor, self.now_ms
        while self.now_ms < began_ms + 60_000:
            result = int(sensor.step(sensor.context, self.input, INPUT_BYTES, self.label))
            if result not in (0, WAITS):
                return result, self.now_ms - began_ms
            self.now_ms += POLL_MS if result == WAITS else 0
        raise AssertionError("the sensor listens for over a minute")

    def _parts(self) -> list[Any]:
        callback, new = self.ffi.callback, self.ffi.new
        calls = [
            callback("int32_t(void *)", self._start),
            callback("int32_t(void *, int16_t *, uint32_t)", self._read),
            callback("void(void *)", self._stop),
            callback("uint32_t(void *)", lambda _: self.now_ms % 2**32),
        ]
        head = {"input_shape": (49, 40, 1), "input_scale": 1 / 128, "input_zero_point": -128}
        return [
            *calls,
            new("struct cl_head *", head),
            new("struct cl_recordings *"),
            new("struct cl_microphone *", {"start": calls[0], "read": calls[1], "stop": calls[2]}),
            new("struct cl_port *", {"now_ms": calls[3]}),
        ]

    def _start(self, _: Any) -> int:
        self.is_open = self.start_result == 0
        self._began_ms, self._given = self.now_ms, 0
        return self.start_result

    def _read(self, _: Any, samples: Any, count: int) -> int:
        assert self.is_open
        if self.broken:
            return BROKEN
        heard = (self.now_ms - self._began_ms) * SAMPLES_A_MS
        part = self.sound[self._given : min(heard, self._given + count)]
        self.ffi.memmove(samples, part.tobytes(), part.nbytes)
        self._given += len(part)
        return len(part)

    def _stop(self, _: Any) -> None:
        assert self.is_open
        self.is_open = False
        self.stops += 1


def quiet(ms: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 10, ms * SAMPLES_A_MS)


def loud(ms: int) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 3000, ms * SAMPLES_A_MS)


@pytest.mark.parametrize("sound", [quiet(60_000), quiet(0)], ids=["a quiet room", "a dead microphone"])
def test_it_listens_for_ten_seconds_each_time(sound: np.ndarray) -> None:
    listener = Listener(sound)
    for asked in range(1, 3):
        assert listener.ask() == 0
        result, passed_ms = listener.wait()
        assert result == SensorCode.NOTHING_HEARD == listener.lib.CL_ERROR_PORT - 32
        assert LISTEN_MS < passed_ms <= LISTEN_MS + 2 * POLL_MS
        assert (listener.is_open, listener.stops) == (False, asked)


def test_a_word_at_the_last_moment_is_heard_whole() -> None:
    """What the ten seconds are for is its beginning: the rest comes after them."""
    listener = Listener(np.concatenate([quiet(LISTEN_MS - 100), loud(1000), quiet(1000)]))
    assert listener.ask() == 0
    result, passed_ms = listener.wait()
    assert result == DONE
    assert LISTEN_MS + 500 < passed_ms < LISTEN_MS + 1000
    assert listener.label[0] == -1
    assert not listener.is_open
    loudness = np.median(np.frombuffer(listener.ffi.buffer(listener.input), np.int8).reshape(49, 40), axis=1)
    assert loudness[:8].max() < -100
    assert loudness[11:].min() > 100


@pytest.mark.parametrize("spoken_ms", [60, 500])
def test_a_word_that_breaks_off_is_given_up_after_five_seconds(spoken_ms: int) -> None:
    listener = Listener(np.concatenate([quiet(1000), loud(spoken_ms)]))
    assert listener.ask() == 0
    result, passed_ms = listener.wait()
    assert result == ErrorCode.SENSOR
    noticed_ms = passed_ms - REST_MS
    assert 1000 < noticed_ms < 1000 + 60 + 2 * POLL_MS
    assert not listener.is_open


def test_a_microphone_that_fails_ends_it_with_its_code() -> None:
    listener = Listener(quiet(1000))
    assert listener.ask() == 0
    listener.broken = True
    assert listener.wait() == (BROKEN, 0)
    assert not listener.is_open
    listener.start_result = BROKEN
    assert listener.ask() == BROKEN
