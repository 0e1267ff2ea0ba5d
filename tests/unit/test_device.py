"""A device against the double: answers in order, deadlines, cancelling, refusals, and a lost link."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from double_board import RECORDINGS, Reach, double_board, reached

from cutlayer_host.body import Parameters
from cutlayer_host.codes import ErrorCode, Kind, Section, SensorCode
from cutlayer_host.device import Device
from cutlayer_host.errors import (
    BundleMismatch,
    DeviceError,
    DeviceTimeout,
    KeyMismatch,
    LinkLost,
    ProtocolError,
    TransportError,
    WireVersionMismatch,
)
from cutlayer_host.guard import BoardGuard
from cutlayer_host.host_messages import Configure
from cutlayer_host.opening import connect
from cutlayer_host.session import Refused
from cutlayer_host.transports import memory_pair
from cutlayer_host.transports.faulty import FaultRates, FaultyTransport, MuteTransport
from cutlayer_host.wire import FrameDecoder, encode_frame

if TYPE_CHECKING:
    from cutlayer_host.smashed_data import SmashedData
    from cutlayer_host.transports import Transport


async def sample(device: Device, number: int = 1, recording: int = 0) -> SmashedData:
    return await device.sample(number, recording, train=True)


async def test_a_device_knows_its_board() -> None:
    async with reached(double_board(model_id=bytes(range(32)))) as device:
        assert device.welcome.board == "double"
        assert device.welcome.recordings == RECORDINGS
        device.require_model(bytes(range(32)).hex(), Path("bundle"))
        with pytest.raises(BundleMismatch, match=r"000102030405.*ffffffffffff") as caught:
            device.require_model("f" * 64, Path("bundle"))
        assert "000102030405" in (caught.value.hint or "")


async def test_a_step_by_hand() -> None:
    board = double_board()
    async with reached(board) as device:
        assert (await device.configure(Configure(restart=True))).last_step == 0
        for number in range(2):
            smashed = await sample(device, number, recording=3)
            assert (smashed.sample, smashed.label, smashed.values.shape) == (number, 3, (64,))
            device.gradient(smashed, np.where(smashed.masked, 0, 5).astype(np.int8), 0.01)
        applied = await device.apply(1, 2, 0.5)
        assert applied.weights_crc == board.weights_crc
        assert (await device.apply(1, 2, 0.5)) == applied
        assert board.bias.any()
        assert await device.read(Section.MASTER) == board.bias.tobytes()
        assert (await device.clear()).last_step == 1
        assert (await device.rescale(0.1, -100)).scale == pytest.approx(0.1)
        assert (await sample(device)).zero_point == -100
        assert (await device.stats())["frames_received"] > 0


async def test_requests_at_the_same_time_are_answered_in_order() -> None:
    async with reached(double_board()) as device:
        await device.configure(Configure())
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(device.sample(n, n, train=False)) for n in range(RECORDINGS)]
        assert [task.result().sample for task in asked] == list(range(RECORDINGS))


async def test_a_cancelled_request_does_not_get_in_the_way() -> None:
    async with reached(double_board()) as device:
        await device.configure(Configure())
        asked = asyncio.create_task(sample(device, 1))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await sample(device, 2)).sample == 2


async def test_a_deadline_that_passes_does_not_get_in_the_way() -> None:
    async with reached(double_board()) as device:
        await device.configure(Configure())
        with pytest.raises(DeviceTimeout, match="no answer to SAMPLE for 0 s") as caught:
            await device.sample(1, 0, train=True, seconds=0)
        assert caught.value.hint
        assert (await sample(device, 2)).sample == 2


async def test_a_refusal_names_request_and_reason() -> None:
    async with reached(double_board()) as device:
        await device.configure(Configure())
        with pytest.raises(DeviceError, match="refused SAMPLE: SENSOR") as caught:
            await sample(device, recording=RECORDINGS)
        assert caught.value.hint
        assert (caught.value.code, caught.value.about) == (-10, 3)
        with pytest.raises(DeviceError, match="refused APPLY: STEP"):
            await device.apply(9, 1, 0.1)
        assert (await sample(device)).sample == 1


async def test_a_board_without_storage_says_so() -> None:
    async with reached(double_board()) as device:
        await device.configure(Configure())
        with pytest.raises(DeviceError, match="refused SAVE: STORAGE") as caught:
            await device.save(0)
        assert "storage" in (caught.value.hint or "")


async def test_a_sensor_that_heard_nothing_is_told_in_words() -> None:
    async with reached(double_board()) as device:
        for code, told in (
            (SensorCode.NOTHING_HEARD, "its microphone heard nothing"),
            (-200, "SENSOR (detail -200)"),
        ):
            device._handle([Refused(Kind.SAMPLE, ErrorCode.SENSOR, code % 2**32)])
            with pytest.raises(DeviceError) as caught:
                await device.stats()
            assert told in str(caught.value)
            assert "microphone" in (caught.value.hint or "")
            assert caught.value.detail == code % 2**32


async def test_a_request_that_the_state_does_not_take_never_leaves() -> None:
    board = double_board()
    async with reached(board) as device:
        with pytest.raises(ProtocolError, match="SAMPLE cannot be sent in state GREETED"):
            await sample(device)
        await device.configure(Configure())
        assert len(board.taken) == 2


@pytest.mark.parametrize("asked_before", [True, False])
async def test_a_refused_gradient_is_told_by_the_next_request(asked_before: bool) -> None:
    board = double_board()
    async with reached(board) as device:
        await device.configure(Configure())
        smashed = replace(await sample(device), sample=99)
        device.gradient(smashed, np.zeros(64, np.int8), 0.01)
        if not asked_before:
            for _ in range(50):
                await asyncio.sleep(0)
            assert device._refusal
        with pytest.raises(DeviceError, match="refused GRADIENT: SAMPLE"):
            await device.clear()
        assert (await device.clear()).last_step == 0
        assert (await sample(device, 5)).sample == 5


async def test_a_closed_pipe_ends_every_request_running_and_later() -> None:
    async with reached(double_board()) as device:
        await device.configure(Configure())
        asked = [asyncio.create_task(device.sample(n, 0, train=False)) for n in range(3)]
        await asyncio.sleep(0)
        await device._pump.transport.close()
        for task in asked:
            with pytest.raises(LinkLost):
                await task
        with pytest.raises(LinkLost) as caught:
            await sample(device)
        assert caught.value.hint


async def test_closing_a_device_ends_its_requests() -> None:
    async with reached(double_board()) as device:
        await device.configure(Configure())
        asked = asyncio.create_task(sample(device))
        await asyncio.sleep(0)
        await device.close()
        with pytest.raises(LinkLost, match="closed by this side"):
            await asked
        await device.close()


async def test_nobody_there() -> None:
    host, _ = memory_pair("silent")
    with pytest.raises(LinkLost, match="no board answered for 0 s") as caught:
        await Device.open(host, key=None, greeting_seconds=0)
    assert caught.value.hint
    with pytest.raises(TransportError):
        await host.write(b"closed")


async def test_a_board_that_falls_silent() -> None:
    mute: list[MuteTransport] = []

    def wrap(inner: Transport) -> Transport:
        mute.append(MuteTransport(inner))
        return mute[0]

    async with reached(double_board(), wrap=wrap, dead_ms=20) as device:
        await device.configure(Configure())
        mute[0].muted = True
        with pytest.raises(LinkLost, match="silent"):
            await sample(device)


async def test_another_version_of_the_wire() -> None:
    host, board = memory_pair()
    asked = asyncio.create_task(Device.open(host, key=None))
    (body,) = FrameDecoder(4096).receive(await board.read(999))
    answer = bytearray(body)
    answer[0] = 2
    answer[12] = 9
    await board.write(encode_frame(bytes(answer)))
    with pytest.raises(WireVersionMismatch, match="version 9") as caught:
        await asked
    assert caught.value.hint


async def test_connect_names_what_it_cannot_open() -> None:
    with pytest.raises(TransportError, match="unix:///nowhere"):
        async with connect("unix:///nowhere", key=None):
            raise AssertionError


async def test_a_narrow_window_and_a_bad_line() -> None:
    """Small payloads and a small window, and one frame in ten lost or mangled: every byte arrives."""
    parameters = Parameters(max_payload=128, window_bytes=320, window_frames=3)
    board = double_board(count=2000, parameters=parameters)
    async with reached(board, wrap=lambda inner: FaultyTransport(inner, FaultRates(0.05, 0.05, 3))) as device:
        await device.configure(Configure(restart=True))
        smashed = await sample(device)
        expected = np.clip(np.rint(board.recordings[0] / np.float32(0.05)) - 128, -128, 127)
        assert np.array_equal(smashed.values, expected)
        device.gradient(smashed, np.where(smashed.masked, 0, 3).astype(np.int8), 1.0)
        await device.apply(1, 1, 1.0)
        assert np.array_equal(board.bias, np.where(smashed.masked, 0, -3).astype(np.float32))


@pytest.mark.parametrize(
    ("sealed", "keys", "said"),
    [
        (True, None, "wants a key"),
        (False, {bytes(8): bytes(32)}, "has no key"),
        (True, {}, "no key is known"),
        (True, {bytes(8): bytes(range(32))}, "does not hold the key"),
    ],
)
async def test_keys_that_do_not_fit_are_named(
    sealed: bool, keys: dict[bytes, bytes] | None, said: str
) -> None:
    board = double_board(guard=BoardGuard(bytes(8), bytes(32)) if sealed else None)
    with pytest.raises(KeyMismatch, match=said) as caught:
        async with reached(board, key=None if keys is None else keys.get):
            pass
    assert caught.value.hint


async def test_a_device_with_its_key_is_used_as_ever() -> None:
    board = double_board(guard=BoardGuard(bytes(8), bytes(32)))
    async with reached(board, key=lambda _: bytes(32)) as device:
        await device.configure(Configure(restart=True))
        assert (await sample(device)).values.shape == (64,)
        assert device.session.link.seal is not None


async def test_a_board_takes_a_key_and_drops_it() -> None:
    board, key = double_board(), bytes(range(32))
    async with Reach(board) as reach:
        device = await reach.device()
        assert (await device.provision(bytes([1] * 8), key)).device_id == bytes([1] * 8)
        with pytest.raises(KeyMismatch):
            await reach.device()
        with pytest.raises(KeyMismatch):
            await reach.device(key=lambda _: bytes(32))
        sealed = await reach.device(key=lambda _: key)
        assert sealed.session.link.seal is not None
        await sealed.forget()
        assert (await reach.device()).welcome.device_id == bytes(8)
