"""The server: trains every board that comes, each with a session and a tail of its own.

One task a board. Their news goes through one bounded queue, so that a slow reader slows the boards down
instead of filling the memory. All tails run in one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutlayer_boards.errors import CutlayerError
from cutlayer_host.device import Device, open_device
from cutlayer_host.transports import listen_tcp
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cutlayer_host.lesson import Lesson
    from cutlayer_host.report import StepDone
    from cutlayer_host.run import Run
    from cutlayer_host.transports import Transport

QUEUE_EVENTS = 64


@dataclass(frozen=True, slots=True)
class Listening:
    """Boards may dial in at `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A board has been greeted."""

    url: str
    board: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """A board has made a step."""

    url: str
    done: StepDone


@dataclass(frozen=True, slots=True)
class Finished:
    """A board's lesson has ended."""

    url: str
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """A board's lesson has ended badly; the other boards go on."""

    url: str
    error: CutlayerError


ServerEvent = Listening | Joined | Stepped | Finished | Failed


class Server:
    """Serves boards that are named, and boards that dial in.

    `lesson` makes the lesson of a board, `run` its folder or None; both get the board's number from 1 up.
    """

    def __init__(
        self,
        lesson: Callable[[Device, TailWorker, int], Lesson],
        run: Callable[[Device, int], Run | None] = lambda _device, _number: None,
        *,
        boards_at_once: int = 16,
    ) -> None:
        """Boards beyond `boards_at_once` wait, connected and not greeted."""
        self._lesson = lesson
        self._run = run
        self._slots = asyncio.Semaphore(boards_at_once)
        self._events: asyncio.Queue[ServerEvent] = asyncio.Queue(QUEUE_EVENTS)
        self._boards = 0

    async def serve(
        self,
        tell: Callable[[ServerEvent], Awaitable[None]],
        urls: Sequence[str] = (),
        *,
        listen: str | None = None,
        boards: int | None = None,
    ) -> None:
        """Trains the boards at `urls` and those that dial in at `listen`, and tells what happens.

        Ends once `boards` lessons have ended, well or badly. By default that is as many as there are `urls`,
        and never when it listens.

        Raises:
            TransportError: `listen` cannot be bound. What goes wrong with one board is an event.
        """
        expected = boards if boards is not None or listen is not None else len(urls)
        arrivals: asyncio.Queue[Transport] = asyncio.Queue(QUEUE_EVENTS)
        async with contextlib.AsyncExitStack() as stack:
            if listen is not None:
                host, port = await stack.enter_async_context(listen_tcp(listen, arrivals.put))
                await tell(Listening(f"tcp://{host}:{port}"))
            worker = await stack.enter_async_context(TailWorker())
            async with asyncio.TaskGroup() as tasks:
                lessons = [tasks.create_task(self._teach(url, None, worker)) for url in urls]
                lessons.append(tasks.create_task(self._receive(arrivals, worker)))
                try:
                    await self._tell_until(expected, tell)
                finally:
                    for lesson in lessons:
                        lesson.cancel()

    async def _receive(self, arrivals: asyncio.Queue[Transport], worker: TailWorker) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                transport = await arrivals.get()
                tasks.create_task(self._teach(transport.url, transport, worker))

    async def _tell_until(self, expected: int | None, tell: Callable[[ServerEvent], Awaitable[None]]) -> None:
        ended = 0
        while expected is None or ended < expected:
            event = await self._events.get()
            await tell(event)
            ended += isinstance(event, (Finished, Failed))

    async def _teach(self, url: str, transport: Transport | None, worker: TailWorker) -> None:
        try:
            async with self._slots:
                await self._events.put(Finished(url, await self._lesson_of(url, transport, worker)))
        except CutlayerError as error:
            await self._events.put(Failed(url, error))

    async def _lesson_of(self, url: str, transport: Transport | None, worker: TailWorker) -> dict[str, Any]:
        device = await (Device.open(transport) if transport else open_device(url))
        self._boards += 1
        number = self._boards
        try:
            await self._events.put(Joined(url, device.welcome.board))
            lesson = self._lesson(device, worker, number)
            run = self._run(device, number)
            with run or contextlib.nullcontext():
                async for done in lesson.steps(run):
                    await self._events.put(Stepped(url, done))
            return lesson.result
        finally:
            await device.close()
