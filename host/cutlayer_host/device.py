"""A device: one board behind a transport, and the tasks that turn the crank of its session.

Requests may run at the same time and are answered in order. Cancelling one, or letting its deadline pass,
leaves the device usable: the answer is dropped when it comes. A lost link ends the device: every request,
running or later, raises the same LinkLost. Connect anew then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from cutlayer_host.board_messages import (
    Applied,
    Cleared,
    Configured,
    DataRead,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.codes import ErrorCode, Kind, Section
from cutlayer_host.errors import (
    BundleMismatch,
    DeviceError,
    DeviceFault,
    DeviceTimeout,
    HostError,
    LinkLost,
)
from cutlayer_host.link import DEAD_MS, Lost
from cutlayer_host.pump import Pump, now_ms
from cutlayer_host.refusal import lost_error, refusal_error
from cutlayer_host.session import HostSession, Malformed, Refused
from cutlayer_host.smashed_data import SmashedData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from cutlayer_host.guard import KeyFinder
    from cutlayer_host.host_messages import Configure
    from cutlayer_host.session import SessionEvent
    from cutlayer_host.transports import Transport

A = TypeVar("A")

GREETING_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""For a request whose caller names no other deadline; capturing and running the head must fit in."""

NO_ANSWER_HINT = (
    "reset the board and try again; if it runs no cutlayer firmware: cutlayer flash BOARD --bundle DIR"
)


_ANSWERS: dict[type, Kind] = {
    Configured: Kind.CONFIGURE,
    SmashedData: Kind.SAMPLE,
    Applied: Kind.APPLY,
    Cleared: Kind.CLEAR,
    Rescaled: Kind.RESCALE,
    Saved: Kind.SAVE,
    Restored: Kind.RESTORE,
    Provisioned: Kind.PROVISION,
    Forgotten: Kind.FORGET,
    DataRead: Kind.READ,
    StatsAre: Kind.STATS,
}


class Device:
    """A connected board; make one with `connect` or `Device.open`.

    Attributes:
        welcome: what the board said of itself.
        session: read only.
    """

    def __init__(
        self,
        transport: Transport,
        session: HostSession,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.session = session
        self.welcome = Welcome(smashed_count=1, output_scale=1.0, output_zero_point=0)
        self._answer_seconds = answer_seconds
        self._waiting: deque[tuple[Kind, asyncio.Future[Any]]] = deque()
        self._refusal: HostError | None = None
        self._end: Exception | None = None
        self._pump: Pump[SessionEvent] = Pump(
            transport, self.session, on_events=self._handle, on_end=self._lose
        )

    @classmethod
    async def open(
        cls,
        transport: Transport,
        *,
        key: KeyFinder | None,
        dead_ms: float = DEAD_MS,
        greeting_seconds: float = GREETING_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Device:
        """Greets the board behind `transport`, which the device owns from here on.

        `key` finds the board's key by its id, to seal the connection; with None it is plain.

        Raises:
            LinkLost, WireVersionMismatch: nobody answers, or not with this version of the wire.
            KeyMismatch: the two sides do not hold the same key, or only one of them wants one.
            DeviceError: the board refuses to be greeted.
        """
        session = HostSession(dead_ms=dead_ms, heartbeat=True, key=key)
        device = cls(transport, session, answer_seconds=answer_seconds)
        try:
            await device._start(greeting_seconds)
        except BaseException:
            await device.close()
            raise
        return device

    @property
    def url(self) -> str:
        """The transport's URL."""
        return self._pump.transport.url

    def require_model(self, model_id: str, bundle: Path) -> None:
        """Checks that the board runs the model of a bundle; `model_id` is hex.

        Raises:
            BundleMismatch: it runs another.
        """
        running = self.welcome.model_id.hex()
        if running != model_id:
            raise BundleMismatch(
                f"{self.url} runs model {running[:12]}, the bundle {bundle} is model {model_id[:12]}",
                f"name the bundle of model {running[:12]} with --bundle, or flash the board with {bundle}",
            )

    async def configure(self, configuration: Configure) -> Configured:
        """Sets cut, codecs and optimizer; drops a pending sample and half a step."""
        self._usable().configure(configuration)
        return await self._answer(Configured)

    async def sample(
        self, sample: int, recording: int, *, train: bool, seconds: float | None = None
    ) -> SmashedData:
        """Has the board capture `recording` and run the head. `sample` is any number, best a new one."""
        self._usable().sample(sample, recording, train=train)
        return await self._answer(SmashedData, seconds)

    def gradient(self, smashed: SmashedData, values: npt.NDArray[np.int8], scale: float) -> None:
        """Sends dL/dy = scale * values, int8 [count], for the sample just taken.

        Returns at once. Should the board refuse, then the request after this raises.
        """
        self._usable().gradient(smashed, values, scale)
        self._pump.kick()

    async def apply(self, step: int, samples: int, learning_rate: float) -> Applied:
        """Ends the step that `samples` gradients make up. A board that takes fewer a second is waited for."""
        applied = await self._apply_when_due(step, samples, learning_rate)
        if applied.step != step:
            raise DeviceFault(f"{self.url} applied step {applied.step}, asked for was step {step}")
        return applied

    async def _apply_when_due(self, step: int, samples: int, learning_rate: float) -> Applied:
        deadline = now_ms() + 1000.0 * self._answer_seconds
        while True:
            self._usable().apply(step, samples, learning_rate)
            try:
                return await self._answer(Applied)
            except DeviceError as refused:
                is_too_soon = refused.about == Kind.APPLY and refused.code == ErrorCode.LIMIT
                if not (is_too_soon and refused.detail and now_ms() + refused.detail < deadline):
                    raise
                await asyncio.sleep(refused.detail / 1000.0)

    async def clear(self) -> Cleared:
        """Drops the board's pending sample and half step."""
        self._usable().clear()
        return await self._answer(Cleared)

    async def rescale(self, scale: float, zero_point: int) -> Rescaled:
        """Gives the smashed data a new scale, between steps."""
        self._usable().rescale(scale, zero_point)
        return await self._answer(Rescaled)

    async def save(self, step: int) -> Saved:
        """Has the board keep the state of its last step, which is `step`, in its storage."""
        self._usable().save(step)
        return await self._answer(Saved)

    async def restore(self, run: int, step: int) -> Restored:
        """Has the board take back a state that its storage holds; configure it then."""
        self._usable().restore(run, step)
        restored = await self._answer(Restored)
        if (restored.run, restored.step) != (run, step):
            raise DeviceFault(
                f"{self.url} restored step {restored.step} of run {restored.run}, "
                f"asked for was step {step} of run {run}"
            )
        return restored

    async def provision(self, device_id: bytes, key: bytes) -> Provisioned:
        """Gives the board its name and its key; it takes sealed connections only from then on."""
        self._usable().provision(device_id, key)
        return await self._answer(Provisioned)

    async def forget(self) -> Forgotten:
        """Has the board drop its key."""
        self._usable().forget()
        return await self._answer(Forgotten)

    async def read(self, section: int) -> bytes:
        """Reads a whole section of the trainable layer (SPEC.md, READ)."""
        data = bytearray()
        most = self._section_bytes(section)
        while True:
            self._usable().read(section, len(data))
            part = await self._answer(DataRead)
            if (part.section, part.offset) != (section, len(data)) or part.total > most:
                raise DeviceFault(
                    f"{self.url}: section {part.section} from {part.offset} on, {part.total} bytes in all; "
                    f"due was section {section} from {len(data)} on, {most} bytes at most"
                )
            data += part.data
            if len(data) >= part.total:
                return bytes(data)
            if not part.data:
                raise DeviceFault(f"{self.url}: section {section} ends at {len(data)} of {part.total} bytes")

    def _section_bytes(self, section: int) -> int:
        weights, channels = self.welcome.weight_count, self.welcome.channel_count
        if section == Section.WEIGHTS:
            return weights
        return 4 * (channels if section < Section.MASTER else weights + channels)

    async def stats(self) -> dict[str, int]:
        """The board's counters by name (SPEC.md, section 3.4)."""
        self._usable().stats()
        return (await self._answer(StatsAre)).named()

    async def close(self) -> None:
        """Ends the device and closes the transport. Closing twice is no error."""
        self._lose(LinkLost(f"{self.url}: closed by this side"))
        await self._pump.close()

    async def _start(self, seconds: float) -> None:
        greeted: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((Kind.HELLO, greeted))
        self.session.connect(now_ms())
        self._pump.start()
        try:
            async with asyncio.timeout(seconds):
                self.welcome = await greeted
        except TimeoutError:
            raise LinkLost(
                f"{self.url}: no board answered for {seconds:g} s",
                NO_ANSWER_HINT,
            ) from None

    async def _answer(self, answer_type: type[A], seconds: float | None = None) -> A:
        """Waits for the answer to the request that has just been sent."""
        kind = _ANSWERS[answer_type]
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((kind, answer))
        self._pump.kick()
        seconds = self._answer_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise DeviceTimeout(
                f"{self.url}: no answer to {kind.name} for {seconds:g} s, though the link is alive",
                "a live sensor may have heard nothing; else reset the board",
                about=kind,
            ) from None

    def _usable(self) -> HostSession:
        if self._end is not None:
            raise self._end
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        return self.session

    def _handle(self, events: Sequence[SessionEvent]) -> None:
        for event in events:
            if self._end is not None:
                return
            if isinstance(event, Lost):
                self._lose(lost_error(self.url, event))
            elif isinstance(event, Malformed):
                self._lose(event.error)
            elif isinstance(event, Refused):
                self._refuse(event)
            else:
                _, answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(event)

    def _refuse(self, event: Refused) -> None:
        error = refusal_error(self.url, event)
        if self._waiting and self._waiting[0][0] == event.about:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(error)
            return
        # A gradient has no answer of its own: the next request that somebody waits for tells of it.
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(error)
                return
        self._refusal = error

    def _lose(self, error: Exception) -> None:
        if self._end is not None:
            return
        self._end = error
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(error)
        self._waiting.clear()
