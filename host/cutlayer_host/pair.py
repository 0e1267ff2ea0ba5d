"""A pair: a board and a tail that learn together, and what keeps them at the same step.

Both sides make the same step durable, the host first. Whatever breaks, they meet again at the last step that
both have (cutlayer_host.meeting); the host's side is then made what it was after that step.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from cutlayer_host.checkpoint import Ledger, MemoryLedger, Past
from cutlayer_host.codes import Flag, Optimizer
from cutlayer_host.errors import DeviceFault, LinkLost
from cutlayer_host.host_messages import Configure
from cutlayer_host.meeting import Way, meet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cutlayer_host.device import Device
    from cutlayer_host.gradient import GradientQuantizer
    from cutlayer_host.settings import TrainSettings
    from cutlayer_host.tail import Tail
    from cutlayer_host.worker import TailWorker

RECONNECTIONS = 5
"""How often a lost link is opened again, with nothing achieved in between, before training gives up."""


class Pair:
    """A board and a tail, as one training sees them.

    Attributes:
        device: another object after its link was lost.
        last_step: steps that the tail has made.
        weights_crc: of the board's layer after `last_step`; None: never told.
        saves: of the board's storage, by this pair.
    """

    def __init__(
        self,
        device: Device,
        tail: Tail,
        gradient: GradientQuantizer,
        worker: TailWorker,
        settings: TrainSettings,
        reconnect: Callable[[], Awaitable[Device]] | None,
        ledger: Ledger | None,
    ) -> None:
        """See Trainer."""
        self.device = device
        self.last_step = 0
        self.weights_crc: int | None = None
        self.saves = 0
        self._worker = worker
        self._settings = settings
        self._reconnect = reconnect
        self._ledger = ledger or MemoryLedger(secrets.randbelow(2**32 - 1) + 1)
        self._past = Past(tail, gradient, self._ledger)

    @property
    def base(self) -> int:
        """The step at which the run began: 0, or what the board had learned before."""
        return self._ledger.steps()[0]

    @property
    def holds(self) -> bool:
        """Whether the board, as it has greeted, has made `last_step` and the one after it in this run."""
        welcome = self.device.welcome
        return (welcome.run, welcome.last_step) == (self._ledger.run, self.last_step + 1)

    async def begin(self) -> None:
        """Configures the board; a run that is resumed goes on at the last step that both sides have."""
        while True:
            try:
                if self._ledger.steps():
                    await self._agree(live=None)
                else:
                    self.last_step = await self.configure(restart=self._settings.restart)
                    await self.checkpoint()
            except LinkLost as lost:
                await self.connect_again(lost)
            else:
                return

    async def connect_again(self, lost: LinkLost) -> None:
        """Opens the device anew; raises `lost` when there is no way back."""
        if self._reconnect is None:
            raise lost
        for _ in range(RECONNECTIONS):
            await self.device.close()
            try:
                self.device = await self._reconnect()
            except LinkLost:
                continue
            return
        raise lost

    async def rejoin(self) -> None:
        """Brings both sides to their last common step, if need be over several connections."""
        for _ in range(RECONNECTIONS - 1):
            try:
                await self._agree(live=self.last_step)
            except LinkLost as lost:
                await self.connect_again(lost)
            else:
                return
        await self._agree(live=self.last_step)

    async def keep(self) -> None:
        """Makes the present step durable here."""
        await self._worker.run(self._past.keep, self.last_step, self.weights_crc)

    async def checkpoint(self) -> None:
        """Makes the present step durable: here first, then on the board, when it has a storage."""
        await self.keep()
        if not self._settings.update_head:
            await self._worker.run(self._ledger.saved, self.last_step)
        elif self.device.welcome.flags & Flag.STORAGE and self.last_step > 0:
            await self.device.save(self.last_step)
            self.saves += 1
            await self._worker.run(self._ledger.saved, self.last_step)

    async def configure(self, *, restart: bool) -> int:
        """Has the board take the settings; returns its last step."""
        settings = self._settings
        configuration = Configure(
            restart=restart,
            run=self._ledger.run,
            cut=self.device.welcome.cut_count - 1,
            activation_codec=settings.activation_codec,
            gradient_codec=settings.gradient_codec,
            optimizer=Optimizer[settings.optimizer.name.upper()],
            momentum=settings.optimizer.momentum,
            beta2=settings.optimizer.beta2,
            epsilon=settings.optimizer.epsilon,
        )
        return (await self.device.configure(configuration)).last_step

    async def _agree(self, live: int | None) -> None:
        """Brings a board that has been greeted, and the tail, to their last common step.

        Raises:
            DeviceFault: they have none, or the board's weights are not those of that step.
            StoreError: the checkpoint of that step is damaged.
        """
        welcome, kept = self.device.welcome, self._ledger.steps()
        if not self._settings.update_head:
            step, way = (kept[-1] if live is None else live), Way.STAY
        elif (meeting := meet(welcome, self._ledger.run, live=live, kept=kept)) is not None:
            step, way = meeting.step, meeting.way
        else:
            raise DeviceFault(
                f"the board is at step {welcome.last_step} of another run or restarted, the tail at step "
                f"{kept[-1] if live is None else live}: they have no step in common",
                "begin a new run, without --resume",
            )
        past = None if step == live else await self._worker.run(self._ledger.load, step)
        if way is Way.RESTORE:
            restored = await self.device.restore(self._ledger.run, step)
            _check(step, restored.weights_crc, self.weights_crc if past is None else past.weights_crc)
        await self.configure(restart=way is Way.RESTART)
        if past is not None:
            await self._worker.run(self._past.go_back, past)
            self.weights_crc = past.weights_crc
            self.last_step = step


def _check(step: int, weights_crc: int, due: int | None) -> None:
    if due is not None and due != weights_crc:
        raise DeviceFault(
            f"the board's weights of step {step} have CRC-32 {weights_crc:08X}, the host noted {due:08X}",
            "the board's storage belongs to another training; begin a new run, without --resume",
        )
