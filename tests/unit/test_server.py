"""The server with doubles: boards that dial in, boards that fail, and its own end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from double_board import CLASSES, RECORDINGS, double_board
from plain_tail import PlainTail

from cutlayer_host.errors import BoardAbsent, LinkLost, TransportError
from cutlayer_host.guard import BoardGuard
from cutlayer_host.link import Link, Role
from cutlayer_host.server import Failed, Finished, Joined, Listening, Reconnect, Server, ServerEvent, Stepped
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.trainer import Trainer
from cutlayer_host.transports import open_transport
from cutlayer_host.transports.faulty import CutTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cutlayer_host.device import Device
    from cutlayer_host.double import BoardDouble
    from cutlayer_host.report import StepDone
    from cutlayer_host.worker import TailWorker


@dataclass(eq=False)
class PlainLesson:
    device: Device
    worker: TailWorker
    reconnect: Reconnect
    samples: int = 12

    async def steps(self, _run: object) -> AsyncIterator[StepDone]:
        if self.device.welcome.model_id[0]:
            raise LinkLost("this one is meant to fail", "nothing")
        trainer = Trainer(
            self.device,
            PlainTail(64, CLASSES),
            self.worker,
            TrainSettings(batch_size=4),
            reconnect=self.reconnect,
        )
        await trainer.start()
        async for done in trainer.steps(Visit(n % RECORDINGS) for n in range(self.samples)):
            self.device = trainer.device
            yield done
        self.result: dict[str, Any] = {"last_step": trainer.last_step}


async def dial(board: BoardDouble, url: str) -> None:
    """A board that dials in, and stays until the host hangs up."""
    hung_up = asyncio.Event()
    pump = board.serve(await open_transport(url))
    pump._on_end = lambda _: hung_up.set()
    pump.start()
    await hung_up.wait()
    await pump.close()


async def serve(
    *dialling: BoardDouble, urls: tuple[str, ...] = (), boards: int | None = None
) -> list[ServerEvent]:
    events: list[ServerEvent] = []
    server = Server(PlainLesson, key=None)
    async with asyncio.TaskGroup() as tasks:

        async def tell(event: ServerEvent) -> None:
            events.append(event)
            if isinstance(event, Listening):
                for board in dialling:
                    tasks.create_task(dial(board, event.url))

        await server.serve(tell, urls, listen="tcp://127.0.0.1:0", boards=boards)
    return events


async def test_boards_that_dial_in_are_trained_side_by_side() -> None:
    boards = [double_board() for _ in range(3)]
    events = await serve(*boards, boards=3)
    assert isinstance(events[0], Listening)
    joined = [event for event in events if isinstance(event, Joined)]
    assert [event.board for event in joined] == ["double"] * 3
    assert [event.result for event in events if isinstance(event, Finished)] == [{"last_step": 3}] * 3
    assert len({board.weights_crc for board in boards}) == 1
    for event in joined:
        steps = [other.done.step for other in events if isinstance(other, Stepped) and other.url == event.url]
        assert steps == [1, 2, 3]


async def test_what_goes_wrong_with_one_board_leaves_the_others_alone() -> None:
    bad = double_board(model_id=bytes([1] * 32))
    events = await serve(bad, double_board(), urls=("unix:///nowhere",), boards=3)
    failed = [event for event in events if isinstance(event, Failed)]
    assert sorted(str(event.error) for event in failed)[0] == "this one is meant to fail"
    assert {type(event.error) for event in failed} == {LinkLost, TransportError}
    assert len([event for event in events if isinstance(event, Finished)]) == 1


async def test_the_queue_is_bounded() -> None:
    """A reader that is slow holds the boards back; nothing is lost."""
    server = Server(PlainLesson, key=None)
    server._events = asyncio.Queue(1)
    steps: list[int] = []
    board = double_board()
    async with asyncio.TaskGroup() as tasks:

        async def tell(event: ServerEvent) -> None:
            if isinstance(event, Listening):
                tasks.create_task(dial(board, event.url))
            if isinstance(event, Stepped):
                steps.append(event.done.step)
                for _ in range(20):
                    await asyncio.sleep(0)
                # One in the queue, and one that waits for room there.
                assert board.last_step <= event.done.step + 2

        await server.serve(tell, listen="tcp://127.0.0.1:0", boards=1)
    assert steps == [1, 2, 3]


async def test_cancelling_the_server_ends_its_boards() -> None:
    board = double_board()
    stepped = asyncio.Event()

    async def tell(event: ServerEvent) -> None:
        if isinstance(event, Listening):
            dialling.append(asyncio.create_task(dial(board, event.url)))
        if isinstance(event, Stepped):
            stepped.set()

    def endless(device: Device, worker: TailWorker, reconnect: Reconnect) -> PlainLesson:
        return PlainLesson(device, worker, reconnect, samples=1_000_000)

    dialling: list[asyncio.Task[None]] = []
    serving = asyncio.create_task(Server(endless, key=None).serve(tell, listen="tcp://127.0.0.1:0"))
    await stepped.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    # The host has hung up.
    await dialling[0]


async def test_an_address_that_cannot_be_bound() -> None:
    async def tell(_: ServerEvent) -> None:
        raise AssertionError

    with pytest.raises(TransportError, match="cannot listen"):
        await Server(PlainLesson, key=None).serve(tell, listen="tcp://256.0.0.1:1")


async def dial_until_cut(board: BoardDouble, url: str, after_bytes: int) -> None:
    pump = board.serve(CutTransport(await open_transport(url), after_bytes))
    ended = asyncio.Event()
    pump._on_end = lambda _: ended.set()
    pump.start()
    await ended.wait()
    await pump.close()


async def test_a_board_that_dials_in_again_goes_on_with_its_lesson() -> None:
    board, other = double_board(device_id=b"board001"), double_board(device_id=b"board002")
    events: list[ServerEvent] = []
    async with asyncio.TaskGroup() as tasks:

        async def come_and_go(url: str) -> None:
            await dial_until_cut(board, url, 900)
            await dial(board, url)

        async def tell(event: ServerEvent) -> None:
            events.append(event)
            if isinstance(event, Listening):
                tasks.create_task(come_and_go(event.url))
                tasks.create_task(dial(other, event.url))

        await Server(PlainLesson, key=None).serve(tell, listen="tcp://127.0.0.1:0", boards=2)
    assert [type(event) for event in events if isinstance(event, (Joined, Failed))] == [Joined] * 2
    assert [event.result for event in events if isinstance(event, Finished)] == [{"last_step": 3}] * 2
    assert board.weights_crc == other.weights_crc


async def test_a_board_that_falls_silent_is_missed_and_the_others_are_served() -> None:
    silent, other = double_board(device_id=b"board001"), double_board(device_id=b"board002")
    events: list[ServerEvent] = []
    async with asyncio.TaskGroup() as tasks:

        async def tell(event: ServerEvent) -> None:
            events.append(event)
            if isinstance(event, Listening):
                tasks.create_task(dial_until_cut(silent, event.url, 900))
                tasks.create_task(dial(other, event.url))

        await Server(PlainLesson, key=None, patience_seconds=0.1).serve(
            tell, listen="tcp://127.0.0.1:0", boards=2
        )
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert isinstance(failed.error, BoardAbsent)
    assert "--resume" in (failed.error.hint or "")
    assert [event.result for event in events if isinstance(event, Finished)] == [{"last_step": 3}]


async def test_a_board_that_dials_in_before_its_old_link_is_missed_goes_on_with_its_lesson() -> None:
    """The old connection is there still, but nobody is at its other end."""
    key = bytes(range(32))
    board = double_board(device_id=b"board001", guard=BoardGuard(b"board001", key))
    events: list[ServerEvent] = []
    stepped = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:

        async def come_twice(url: str) -> None:
            first = board.serve(await open_transport(url))
            first.start()
            await stepped.wait()
            for task in first._tasks:
                task.cancel()
            board.link = Link(Role.BOARD, guard=BoardGuard(b"board001", key))
            await dial(board, url)
            await first.close()

        async def tell(event: ServerEvent) -> None:
            events.append(event)
            if isinstance(event, Listening):
                tasks.create_task(come_twice(event.url))
            if isinstance(event, Stepped):
                stepped.set()

        server = Server(PlainLesson, key=lambda name: key if name == b"board001" else None)
        await server.serve(tell, listen="tcp://127.0.0.1:0", boards=1)
    assert len([event for event in events if isinstance(event, Joined)]) == 1
    assert [event.result for event in events if isinstance(event, Finished)] == [{"last_step": 3}]
