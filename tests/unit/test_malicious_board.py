"""A board of ill will: what it sends is bounded, named, and ends its own session only."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from double_board import CLASSES, RECORDINGS, double_board, reached
from plain_tail import PlainTail

from cutlayer_host.board_messages import COUNTERS, Activation, Applied, Cleared, DataRead, StatsAre
from cutlayer_host.codes import ErrorCode, Kind, Section
from cutlayer_host.errors import DeviceError, DeviceFault, LabelError, NumberError, ProtocolError
from cutlayer_host.guard import BoardGuard
from cutlayer_host.host_messages import Configure
from cutlayer_host.lesson import Curriculum, Lesson
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.optimizer import OptimizerSettings
from cutlayer_host.pump import READ_BYTES, Pump
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.tail import TailSettings
from cutlayer_host.trainer import Trainer
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutlayer_host.double import BoardDouble

SETTINGS = TrainSettings(batch_size=4, optimizer=OptimizerSettings("sgd", momentum=0.0))
VISITS = [Visit(recording) for recording in range(RECORDINGS)]
U32_MAX = 2**32 - 1


def lying(lie: Callable[[Message], bytes | list[bytes]], **options: Any) -> BoardDouble:
    """A double that sends what `lie` makes of each of its messages."""
    board = double_board(**options)

    def send(message: Message) -> None:
        told = lie(message)
        for payload in [told] if isinstance(told, bytes) else told:
            board.link.send(payload)

    board._send = send  # type: ignore[method-assign]
    return board


def patched(kind: Kind, offset: int, layout: str, value: float) -> Callable[[Message], bytes]:
    """Overwrites a field of one kind of message."""

    def lie(message: Message) -> bytes:
        payload = bytearray(message.encode())
        if kind == message.KIND:
            struct.pack_into(layout, payload, offset, value)
        return bytes(payload)

    return lie


async def train(board: BoardDouble) -> None:
    async with reached(board) as device, TailWorker() as worker:
        trainer = Trainer(device, PlainTail(64, CLASSES), worker, SETTINGS)
        await trainer.start()
        await trainer.train(VISITS)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "named"),
    [
        (60, "<I", U32_MAX, "WELCOME.recordings is 4294967295"),
        (64, "<I", U32_MAX, "WELCOME.smashed_count is 4294967295"),
        (64, "<I", 0, "WELCOME.smashed_count is 0"),
        (68, "<I", U32_MAX, "WELCOME.weight_count is 4294967295"),
        (72, "<I", U32_MAX, "WELCOME.channel_count is 4294967295"),
        (76, "<f", float("nan"), "WELCOME.output_scale is nan"),
        (92, "<H", 0, "WELCOME.cut_count is 0"),
    ],
)
async def test_a_welcome_beyond_bounds(offset: int, layout: str, value: float, named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        async with reached(lying(patched(Kind.WELCOME, offset, layout, value))):
            pass


@pytest.mark.parametrize(
    ("offset", "layout", "value", "named"),
    [
        (2, "<h", -2, "ACTIVATION.label is -2"),
        (4, "<I", 77_777, "ACTIVATION.sample is 77777"),
        (8, "<I", U32_MAX, "ACTIVATION.count is 4294967295"),
        (8, "<I", 2**20, "ACTIVATION.count is 1048576, WELCOME.smashed_count was 64"),
        (8, "<I", 63, "ACTIVATION.count is 63, WELCOME.smashed_count was 64"),
        (12, "<f", float("nan"), "ACTIVATION.scale is nan"),
        (12, "<f", 0.0, "ACTIVATION.scale is 0"),
        (20, "<I", 65, "ACTIVATION.saturated is 65"),
        (24, "<I", 1, "CRC-32"),
    ],
)
async def test_smashed_data_beyond_bounds(offset: int, layout: str, value: float, named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        await train(lying(patched(Kind.ACTIVATION, offset, layout, value)))


async def test_a_label_that_no_class_has() -> None:
    with pytest.raises(LabelError, match="has label 9999, the tail knows 0 to 3"):
        await train(lying(patched(Kind.ACTIVATION, 2, "<h", 9999)))


async def test_pieces_without_end() -> None:
    def lie(message: Message) -> bytes | list[bytes]:
        return [message.encode()] * 50 if isinstance(message, Piece) else message.encode()

    with pytest.raises(ProtocolError, match=r"PIECE (covers 0 to 63|follows no ACTIVATION)"):
        await train(lying(lie))


async def test_more_outputs_saturated_than_there_are() -> None:
    board = lying(patched(Kind.APPLIED, 12, "<I", U32_MAX))
    with pytest.raises(DeviceFault, match="4294967295 of 256 outputs saturated"):
        await train(board)


async def test_a_tail_that_gives_no_numbers_any_more() -> None:
    class Overflowing(PlainTail):
        def predict(self, *_: object) -> np.ndarray:
            return np.full(CLASSES, np.nan, np.float32)

    async with reached(double_board()) as device, TailWorker() as worker:
        trainer = Trainer(device, Overflowing(64, CLASSES), worker, SETTINGS)
        await trainer.start()
        with pytest.raises(NumberError, match="the tail gives"):
            await trainer.evaluate(VISITS)


@pytest.mark.parametrize(
    "change",
    [
        {"total": U32_MAX},
        {"offset": 4, "total": 1000},
        {"section": Section.BIAS},
        {"count": 0, "data": b""},
    ],
)
async def test_a_section_that_has_no_end_or_is_another(change: dict[str, Any]) -> None:
    def lie(message: Message) -> bytes:
        return (replace(message, **change) if isinstance(message, DataRead) else message).encode()

    async with reached(lying(lie)) as device:
        with pytest.raises(DeviceFault, match="section"):
            await device.read(Section.WEIGHTS)


@pytest.mark.parametrize(("n", "counters"), [(0xFFFF, 2), (1, 2), (200, 200)])
async def test_counters_that_are_not_there_or_that_nobody_knows(n: int, counters: int) -> None:
    def lie(message: Message) -> bytes:
        if isinstance(message, StatsAre):
            return struct.pack(f"<BxH{counters}I", Kind.STATS_ARE, n, *range(counters))
        return message.encode()

    async with reached(lying(lie)) as device:
        if n != counters:
            with pytest.raises(ProtocolError, match="STATS_ARE has"):
                await device.stats()
            return
        assert list((await device.stats()).values()) == list(range(len(COUNTERS)))


async def test_a_flood_of_errors_is_not_kept() -> None:
    """The next request tells of them, and the device works once they are over."""
    errors = [Error(about=about, code=ErrorCode.STATE).encode() for about in (Kind.PIECE, 0x33)]
    floods = 1

    def lie(message: Message) -> list[bytes]:
        nonlocal floods
        payloads = [message.encode()]
        if isinstance(message, Cleared) and floods:
            floods -= 1
            payloads += errors * 500
        return payloads

    async with reached(lying(lie)) as device:
        await device.configure(Configure())
        await device.clear()
        refusals: set[int] = set()
        for _ in range(500):
            try:
                assert (await device.clear()).last_step == 0
                break
            except DeviceError as error:
                refusals.add(error.about)
        assert refusals == {0x33}
        assert (await device.clear()).last_step == 0


async def test_a_board_that_has_its_own_key_and_gives_the_name_of_another() -> None:
    """Or it could take over the lesson that waits for that one."""
    mine, other = b"device 1", b"device 2"
    keys = {mine: bytes(32), other: bytes([7] * 32)}
    for name in (mine, other):
        board = double_board(device_id=name, guard=BoardGuard(mine, keys[mine]))
        with contextlib.ExitStack() as stack:
            if name != mine:
                wrong = f"device_id is {other.hex()}, the connection's key is that of {mine.hex()}"
                stack.enter_context(pytest.raises(ProtocolError, match=wrong))
            async with reached(board, key=keys.get) as device:
                assert device.welcome.device_id == mine


@pytest.mark.parametrize("name", ["smashed_count", "cut_count", "weight_count", "channel_count"])
async def test_a_board_of_another_size_than_its_bundle(name: str) -> None:
    """It says the bundle's model id all the same."""
    sizes = {"smashed_count": 64, "cut_count": 1, "weight_count": 64, "channel_count": 1}
    sizes[name] += 1
    layer = SimpleNamespace(weight_count=sizes["weight_count"], channel_count=sizes["channel_count"])
    manifest: Any = SimpleNamespace(
        model_id=bytes(32).hex(),
        smashed=SimpleNamespace(count=sizes["smashed_count"]),
        cuts=[None] * sizes["cut_count"],
        trainable=layer,
    )
    async with reached(double_board()) as device, TailWorker() as worker:
        curriculum = Curriculum(samples=4)
        lesson = Lesson(device, Path("bundle"), manifest, worker, curriculum, SETTINGS, TailSettings())
        with pytest.raises(DeviceFault, match=f"{name} {sizes[name] - 1}, its bundle has {sizes[name]}"):
            await anext(lesson.steps())


@pytest.mark.parametrize("wait_ms", [15, 0, 60_000])
async def test_a_board_that_wants_steps_later(wait_ms: int) -> None:
    """The host waits, unless no time is named or it is longer than for any answer."""
    asked = 0

    def lie(message: Message) -> bytes:
        nonlocal asked
        if isinstance(message, Applied):
            asked += 1
            if asked % 3:
                return Error(about=Kind.APPLY, code=ErrorCode.LIMIT, detail=wait_ms).encode()
        return message.encode()

    board = lying(lie)
    if wait_ms == 15:
        await train(board)
        assert (board.last_step, asked) == (4, 12)
        return
    with pytest.raises(DeviceError, match="refused APPLY: LIMIT") as caught:
        await train(board)
    assert asked == 1
    assert "learning_rate_max" in (caught.value.hint or "")


def test_recordings_that_nobody_can_have_made_are_bounded_before_they_are_counted() -> None:
    """The order of the largest number of recordings is all that is made of it."""
    tracemalloc.start()
    visits = Curriculum(samples=10).visits(2**20)
    assert len({visit.recording for visit in visits}) == 10
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20_000_000


class Endless:
    """A transport whose other side always has more."""

    url = "memory://endless"

    async def read(self, count: int) -> bytes:
        return bytes(count)

    async def write(self, data: bytes) -> None:
        """Nobody reads it."""

    async def close(self) -> None:
        """There is nothing to close."""


async def test_a_pipe_that_is_never_empty_leaves_the_others_their_turn() -> None:
    class Counting:
        taken = 0

        def receive(self, data: bytes, _now_ms: float) -> list[object]:
            self.taken += len(data)
            return []

        def transmit(self, _now_ms: float, _max_bytes: int | None = None) -> bytes:
            return b""

        def next_timeout_ms(self, _now_ms: float) -> float | None:
            return None

    machine = Counting()
    pump: Pump[object] = Pump(Endless(), machine, on_events=lambda _: None, on_end=lambda _: None)
    pump.start()
    for _ in range(20):
        await asyncio.sleep(0)
    assert READ_BYTES <= machine.taken <= 20 * READ_BYTES
    await pump.close()


def test_a_sample_of_an_unheard_of_size_is_refused_before_memory_is_taken() -> None:
    head = Activation(sample=1, count=1, scale=1.0, zero_point=0, crc=0)
    payload = bytearray(head.encode())
    struct.pack_into("<I", payload, 8, 2**20 + 1)
    with pytest.raises(ProtocolError, match=r"ACTIVATION\.count is 1048577"):
        Activation.decode(bytes(payload))
