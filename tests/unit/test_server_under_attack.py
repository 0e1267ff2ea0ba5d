"""The server among boards of ill will and tails that break: the others are trained as if they were alone."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from double_board import CLASSES, RECORDINGS, double_board
from plain_tail import PlainTail

from cutlayer_host.body import FrameKind, Header
from cutlayer_host.errors import LessonBroken, NumberError, StoreError, TransportError
from cutlayer_host.host_messages import Sample
from cutlayer_host.server import CROWD, Failed, Finished, Listening, Server, ServerEvent
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.trainer import Trainer
from cutlayer_host.transports import open_transport
from cutlayer_host.wire import encode_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cutlayer_host.device import Device
    from cutlayer_host.double import BoardDouble
    from cutlayer_host.report import StepDone
    from cutlayer_host.server import Reconnect
    from cutlayer_host.transports import Transport
    from cutlayer_host.worker import TailWorker

STRANGE = bytes([1] * 32)
"""The model of the boards whose tail breaks in its second step."""


class BreakingTail(PlainTail):
    def __init__(self, error: Exception) -> None:
        super().__init__(64, CLASSES)
        self.error = error

    def step(self, *arguments: Any) -> Any:
        if self.applied:
            raise self.error
        return super().step(*arguments)


@dataclass(eq=False)
class PlainLesson:
    device: Device
    worker: TailWorker
    reconnect: Reconnect
    error: Exception | None = None
    samples: int = 12

    async def steps(self, _run: object) -> AsyncIterator[StepDone]:
        breaks = self.error if self.device.welcome.model_id == STRANGE else None
        self.tail = BreakingTail(breaks) if breaks else PlainTail(64, CLASSES)
        trainer = Trainer(self.device, self.tail, self.worker, TrainSettings(batch_size=4))
        await trainer.start()
        async for done in trainer.steps(Visit(n % RECORDINGS) for n in range(self.samples)):
            yield done
        self.result: dict[str, Any] = {"crc": self.tail.weights_crc()}


async def stay(board: BoardDouble, transport: Transport) -> None:
    """Until the host hangs up."""
    hung_up = asyncio.Event()
    pump = board.serve(transport)
    pump._on_end = lambda _: hung_up.set()
    pump.start()
    await hung_up.wait()
    await pump.close()


async def serve(
    lesson: Callable[[Device, TailWorker, Reconnect], Any],
    *dial: Callable[[str], Awaitable[None]],
    **options: Any,
) -> list[ServerEvent]:
    """One lesson for each of `dial`, which are given the server's address."""
    events: list[ServerEvent] = []
    async with asyncio.TaskGroup() as tasks:

        async def tell(event: ServerEvent) -> None:
            events.append(event)
            if isinstance(event, Listening):
                for dialling in dial:
                    tasks.create_task(dialling(event.url))  # type: ignore[arg-type]

        server = Server(lesson, key=None, **options)
        await server.serve(tell, listen="tcp://127.0.0.1:0", boards=len(dial))
    return events


def dialling(board: BoardDouble) -> Callable[[str], Awaitable[None]]:
    async def dial(url: str) -> None:
        await stay(board, await open_transport(url))

    return dial


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the tail throws"),
        MemoryError(),
        ExceptionGroup("several", [ValueError("one"), OSError("two")]),
        NumberError("no number", "lower the learning rate"),
        StoreError("the disk is full", "make room"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_tail_throws_ends_its_own_lesson(error: Exception) -> None:
    def lesson(device: Device, worker: TailWorker, reconnect: Reconnect) -> PlainLesson:
        return PlainLesson(device, worker, reconnect, error)

    broken, fine = double_board(model_id=STRANGE), double_board()
    (alone,) = (event for event in await serve(lesson, dialling(fine)) if isinstance(event, Finished))
    again = double_board()
    events = await serve(lesson, dialling(broken), dialling(again))
    (failed,) = (event for event in events if isinstance(event, Failed))
    if isinstance(error, NumberError | StoreError):
        assert failed.error is error
    else:
        assert isinstance(failed.error, LessonBroken)
        assert failed.error.__cause__ is error
        assert type(error).__name__ in str(failed.error)
        assert "--resume" in (failed.error.hint or "")
    assert [event.result for event in events if isinstance(event, Finished)] == [alone.result]
    assert again.weights_crc == fine.weights_crc
    # The step in which it threw was made on neither side.
    assert broken.last_step == 1


async def test_a_board_that_floods_the_line_takes_no_turn_of_another() -> None:
    """PINGs without end, each to be answered, beside what the board has to say."""

    def lesson(device: Device, worker: TailWorker, reconnect: Reconnect) -> PlainLesson:
        return PlainLesson(device, worker, reconnect, samples=40)

    flooded = 0

    async def flood(url: str) -> None:
        nonlocal flooded
        board, asked = double_board(), asyncio.Event()
        capture = board._handlers[Sample]
        board._handlers[Sample] = lambda message: (asked.set(), capture(message))[1]
        transport = await open_transport(url)
        async with asyncio.TaskGroup() as tasks:
            staying = tasks.create_task(stay(board, transport))
            with contextlib.suppress(TransportError):
                await asked.wait()
                while not staying.done():
                    ping = Header(FrameKind.PING, board.link.connection, 0, 0, 0, 0).encode()
                    data = (encode_frame(ping) + bytes(16)) * 200
                    await transport.write(data)
                    flooded += len(data)
                    await asyncio.sleep(0)

    honest = double_board()
    events = await serve(lesson, flood, dialling(honest))
    results = [event.result for event in events if isinstance(event, Finished)]
    assert len(results) == 2
    assert results[0] == results[1]
    assert honest.last_step == 10
    assert flooded > 100_000


async def test_a_crowd_at_the_door_is_bounded() -> None:
    """Those beyond it are hung up on; those who wait and say nothing are missed, and a board is trained."""
    hung_up = asyncio.Semaphore(0)
    greeted: list[Transport] = []

    async def crowd(url: str) -> None:
        for _ in range(CROWD):
            greeted.append(await open_transport(url))
            assert await greeted[-1].read(100)  # a SYN
        late = await open_transport(url)
        assert await late.read(100) == b""
        await late.close()
        await greeted[0].close()
        hung_up.release()

    board = double_board()

    async def dial(url: str) -> None:
        await hung_up.acquire()
        while not board.last_step:
            await stay(board, await open_transport(url))
        for transport in greeted:
            await transport.close()

    events: list[ServerEvent] = []
    async with asyncio.TaskGroup() as tasks:

        async def tell(event: ServerEvent) -> None:
            events.append(event)
            if isinstance(event, Listening):
                tasks.create_task(crowd(event.url))
                tasks.create_task(dial(event.url))

        server = Server(PlainLesson, key=None, boards_at_once=1)  # type: ignore[arg-type]
        await server.serve(tell, listen="tcp://127.0.0.1:0", boards=2)
    assert len([event for event in events if isinstance(event, Finished)]) == 1
