"""The server: trains every board that comes, each with a session and a tail of its own.

One task a board. Their news goes through one bounded queue, so that a slow reader slows the boards down
instead of filling the memory. All tails run in one thread.

A board whose link is lost has `patience_seconds` to come back; its lesson waits, the others go on. A board at
a URL is called again. A board that dials in is known again by its device id.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutlayer_boards.errors import CutlayerError
from cutlayer_host.device import Device
from cutlayer_host.errors import BoardAbsent, LessonBroken
from cutlayer_host.opening import PATIENCE_SECONDS, open_device, reopen_device
from cutlayer_host.store import device_name
from cutlayer_host.transports import listen_tcp
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutlayer_host.guard import KeyFinder
    from cutlayer_host.lesson import Lesson
    from cutlayer_host.report import StepDone
    from cutlayer_host.run import Run
    from cutlayer_host.transports import Transport

QUEUE_EVENTS = 64

CROWD = 4
"""Boards that may wait, greeted or about to be, for each that is trained at once; more are hung up on."""


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
class Stopped:
    """A board's lesson was stopped after a step; it can be resumed."""

    url: str
    last_step: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A board's lesson has ended badly; the other boards go on."""

    url: str
    error: CutlayerError


Reconnect = Callable[[], Awaitable[Device]]

ServerEvent = Listening | Joined | Stepped | Finished | Stopped | Failed


class Server:
    """Serves boards that are named, and boards that dial in.

    `lesson` makes the lesson of a board and is told how to reach it again, `run` its run or None.
    """

    def __init__(
        self,
        lesson: Callable[[Device, TailWorker, Reconnect], Lesson],
        run: Callable[[Device], Run | None] = lambda _device: None,
        *,
        key: KeyFinder | None,
        boards_at_once: int = 64,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`key` seals the connections (Device.open). Boards beyond `boards_at_once` wait, greeted only."""
        self._key = key
        self._lesson = lesson
        self._run = run
        self._slots = asyncio.Semaphore(boards_at_once)
        self._crowd = CROWD * boards_at_once
        self._events: asyncio.Queue[ServerEvent] = asyncio.Queue(QUEUE_EVENTS)
        self._patience_seconds = patience_seconds
        self._lessons: set[Lesson] = set()
        self._stopping = False
        self._seats: dict[str, _Seat] = {}

    def stop(self) -> None:
        """Ends all lessons after the step in hand, with a checkpoint."""
        self._stopping = True
        for lesson in self._lessons:
            lesson.stop()

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
        here: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                transport = await arrivals.get()
                if len(here) >= self._crowd:
                    await transport.close()
                    continue
                task = tasks.create_task(self._teach(transport.url, transport, worker))
                here.add(task)
                task.add_done_callback(here.discard)

    async def _tell_until(self, expected: int | None, tell: Callable[[ServerEvent], Awaitable[None]]) -> None:
        ended = 0
        while expected is None or ended < expected:
            event = await self._events.get()
            await tell(event)
            ended += isinstance(event, (Finished, Stopped, Failed))

    async def _teach(self, url: str, transport: Transport | None, worker: TailWorker) -> None:
        try:
            device = await (
                Device.open(transport, key=self._key) if transport else open_device(url, key=self._key)
            )
            if await self._comes_back(device):
                return
            seat = _Seat(device, device_name(device.welcome, device.url)) if transport else None
            reconnect = functools.partial(self._wait, seat) if seat else self._call_again(device)
            try:
                if seat:
                    self._seats[seat.name] = seat
                async with self._slots:
                    await self._events.put(await self._lesson_of(url, device, reconnect, worker))
            finally:
                if seat:
                    await self._leave(seat)
        except CutlayerError as error:
            await self._events.put(Failed(url, error))
        except Exception as error:  # whatever it is must not take the other boards with it
            broken = LessonBroken(
                f"{url}: the lesson broke off: {type(error).__name__}: {error}",
                "the others go on; `cutlayer serve --resume` goes on with this one from its last checkpoint",
            )
            broken.__cause__ = error
            await self._events.put(Failed(url, broken))

    async def _lesson_of(
        self, url: str, device: Device, reconnect: Reconnect, worker: TailWorker
    ) -> Finished | Stopped:
        lesson: Lesson | None = None
        try:
            await self._events.put(Joined(url, device.welcome.board))
            lesson = self._lesson(device, worker, reconnect)
            self._lessons.add(lesson)
            if self._stopping:
                lesson.stop()
            run = self._run(device)
            with run or contextlib.nullcontext():
                async for done in lesson.steps(run):
                    await self._events.put(Stepped(url, done))
            return Finished(url, lesson.result) if lesson.result else Stopped(url, lesson.last_step)
        finally:
            if lesson is not None:
                self._lessons.discard(lesson)
            await (lesson.device if lesson else device).close()

    def _call_again(self, device: Device) -> Reconnect:
        return functools.partial(reopen_device, device.url, self._patience_seconds, key=self._key)

    async def _wait(self, seat: _Seat) -> Device:
        seat.waiting = True
        try:
            async with asyncio.timeout(self._patience_seconds):
                seat.device = await seat.coming.get()
        except TimeoutError:
            raise BoardAbsent(
                f"{seat.device.url}: the board has not dialled in again for {self._patience_seconds:g} s",
                "start it again; `cutlayer serve --resume` goes on with its run",
            ) from None
        finally:
            seat.waiting = False
        return seat.device

    async def _leave(self, seat: _Seat) -> None:
        """Gives the seat up; who has just come back to it is hung up on."""
        if self._seats.get(seat.name) is seat:
            del self._seats[seat.name]
        while not seat.coming.empty():
            await seat.coming.get_nowait().close()

    async def _comes_back(self, device: Device) -> bool:
        """Hands the device to the lesson that it had; its old link may not be known to be lost yet.

        That takes a name that has been proved: over a plain link a stranger could take any.
        """
        seat = self._seats.get(device_name(device.welcome, device.url))
        if seat is None or seat.coming.full() or not (seat.waiting or self._key):
            return False
        seat.coming.put_nowait(device)
        if not seat.waiting:
            await seat.device.close()
        return True


class _Seat:
    """Where the lesson of a board that dials in finds its next connection."""

    def __init__(self, device: Device, name: str) -> None:
        self.device = device
        self.name = name
        self.waiting = False
        self.coming: asyncio.Queue[Device] = asyncio.Queue(1)
