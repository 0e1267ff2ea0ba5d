"""Training across the cut: sample, tail, gradient, and both sides update at the end of each mini-batch.

A step is one mini-batch. The board accumulates the gradient of its layer, the tail that of its weights; APPLY
ends the step. The tail is committed only once the board says APPLIED, so a step happens on both sides or on
neither. Every so often both sides make the same step durable, the host first.

Whatever breaks - the link, the board, this process - both sides meet again at the last step that both have
(cutlayer_host.meeting) and do what came after it once more. The order of everything is given by the visits
and all chance by the seed and the step, so that the end is the same, bit for bit.
"""

from __future__ import annotations

import itertools
import math
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host.checkpoint import Ledger, MemoryLedger, Past
from cutlayer_host.codes import NO_LABEL, Flag, Optimizer
from cutlayer_host.errors import DeviceError, DeviceFault, LabelError, LinkLost, NumberError, TailError
from cutlayer_host.gradient import GradientQuantizer
from cutlayer_host.host_messages import Configure
from cutlayer_host.meeting import Way, meet
from cutlayer_host.report import Evaluation, StepDone, Tally
from cutlayer_host.settings import TrainSettings
from cutlayer_host.tensors import GRADIENT_LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    import numpy.typing as npt

    from cutlayer_host.board_messages import Applied
    from cutlayer_host.device import Device
    from cutlayer_host.report import TrainReport
    from cutlayer_host.settings import Visit
    from cutlayer_host.smashed_data import SmashedData
    from cutlayer_host.tail import Tail, TailStep
    from cutlayer_host.worker import TailWorker


SMALLEST_PROBABILITY = 1e-7
"""What a class gets at least where a loss is worked out from probabilities."""

RECONNECTIONS = 5
"""How often a lost link is opened again, with nothing achieved in between, before training gives up."""


class _BehindStep(Exception):
    """The board has not applied the step in hand: both sides have to agree where to go on."""


class Trainer:
    """Trains one device's head and its tail. Call `start` first, then `train` and `evaluate` in any order.

    Attributes:
        last_step: steps that the tail has made.
        saves: of the board's storage, by this trainer.
        stopping: set it to end `steps` early, after the step in hand and with a checkpoint.
    """

    def __init__(
        self,
        device: Device,
        tail: Tail,
        worker: TailWorker,
        settings: TrainSettings | None = None,
        *,
        reconnect: Callable[[], Awaitable[Device]] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`reconnect` opens the device anew when its link is lost; without it, LinkLost ends the training.

        The old device is closed before, the new one is the caller's to close, as `device`. The ledger keeps
        the checkpoints; without one, memory does. A ledger that holds some already resumes their run.
        """
        self.device = device
        self.tail = tail
        self.settings = settings or TrainSettings()
        self.last_step = 0
        self.saves = 0
        self.stopping = False
        self._worker = worker
        self._reconnect = reconnect
        self._ledger = ledger or MemoryLedger(secrets.randbelow(2**32 - 1) + 1)
        self._weights_crc: int | None = None
        self._sample_numbers = itertools.count(1)
        limit = GRADIENT_LIMITS[self.settings.gradient_codec]
        self._gradient = GradientQuantizer(limit, seed=self.settings.seed)
        self._past = Past(tail, self._gradient, self._ledger)
        self._scale = 0.0
        self._zero_point = 0

    @property
    def base(self) -> int:
        """The step at which the run began: 0, or what the board had learned before."""
        return self._ledger.steps()[0]

    async def start(self) -> None:
        """Configures the board; a run that is resumed goes on at the last step that both sides have.

        Raises:
            TailError: the tail takes smashed data of another size than the board gives.
            DeviceError: the board refuses the settings.
        """
        if self.settings.update_head and not self.device.welcome.flags & Flag.TRAINABLE:
            raise DeviceError(
                f"{self.device.url}: the head's last layer cannot be trained",
                "train the tail alone with --freeze-head, or cut after a Conv2D, DepthwiseConv2D or Dense",
            )
        count = self.device.welcome.smashed_count
        if count != self.tail.count:
            raise TailError(
                f"{self.tail.name} takes {self.tail.count} elements, the board gives {count}",
                "use the tail of the bundle that the board was built with",
            )
        while True:
            try:
                return await self._begin()
            except LinkLost as lost:
                await self._connect_again(lost)

    async def _begin(self) -> None:
        if self._ledger.steps():
            await self._agree(live=None)
        else:
            self.last_step = await self._configure(restart=self.settings.restart)
            await self._checkpoint()

    async def steps(self, visits: Iterable[Visit], *, base: int | None = None) -> AsyncIterator[StepDone]:
        """Visits each sample once, in order, and yields each step made; the last may have fewer samples.

        The visits are those from step `base` on (by default the present one) to the end; what comes before
        `last_step` has been made. After a reset, steps may be yielded again.

        Raises:
            LabelError, NumberError, DeviceError, LinkLost: the step in hand was made on neither side.
            StoreError: a checkpoint cannot be kept; the step before it is made.
        """
        every = list(visits)
        size = self.settings.batch_size
        base = self.last_step if base is None else base
        end = base + math.ceil(len(every) / size)
        checkpointed = base
        while checkpointed < (self.last_step if self.stopping else end):
            if self.last_step < base:
                raise DeviceFault(
                    f"both sides have only step {self.last_step} in common, before this part of the training",
                    "the board has restarted and lost its weights; train again from the beginning",
                )
            begin = (self.last_step - base) * size
            try:
                if self.last_step < end and not self.stopping:
                    began = time.perf_counter()
                    done = await self._step(every[begin : begin + size])
                    seconds = time.perf_counter() - began
                    yield replace(done, visited=begin + done.samples, seconds=seconds)
                if self.stopping or self._is_due(end):
                    await self._checkpoint()
                    checkpointed = self.last_step
            except LinkLost as lost:
                await self._connect_again(lost)
                await self._rejoin()
            except _BehindStep:
                await self._rejoin()

    async def keep(self) -> None:
        """Makes the present step durable here, for a training that ends amid the next one."""
        await self._worker.run(self._past.keep, self.last_step, self._weights_crc)

    async def train(
        self,
        visits: Iterable[Visit],
        *,
        base: int | None = None,
        on_step: Callable[[StepDone], None] | None = None,
    ) -> TrainReport:
        """Makes all `steps` and returns what they came to; `on_step` is told of each."""
        tally = Tally(self.tail)
        async for done in self.steps(visits, base=base):
            tally.add(done)
            if on_step is not None:
                on_step(done)
        return await self._worker.run(tally.report)

    async def evaluate(
        self, visits: Iterable[Visit], *, on_sample: Callable[[int], None] | None = None
    ) -> Evaluation:
        """Runs head and tail without learning; `on_sample` is told how many are done.

        Raises:
            LabelError, NumberError, DeviceError, LinkLost.
        """
        confusion = np.zeros((self.tail.class_count, self.tail.class_count), np.int64)
        losses: list[float] = []

        async def count(label: int, outputs: Awaitable[npt.NDArray[np.float32]]) -> None:
            probabilities = await outputs
            if not np.isfinite(probabilities).all():
                raise NumberError(
                    f"the tail gives {probabilities} for a sample of class {label}",
                    "its weights or the smashed data have run away; lower the learning rate and train anew",
                )
            confusion[label, int(probabilities.argmax())] += 1
            losses.append(-math.log(max(float(probabilities[label]), SMALLEST_PROBABILITY)))
            if on_sample is not None:
                on_sample(len(losses))

        # The board takes the next sample while the tail looks at this one.
        before: tuple[int, Awaitable[npt.NDArray[np.float32]]] | None = None
        for visit in visits:
            smashed = await self._look(visit)
            if before is not None:
                await count(*before)
            outputs = self._worker.start(self.tail.predict, smashed.values, smashed.scale, smashed.zero_point)
            before = self._label(visit, smashed), outputs
        if before is not None:
            await count(*before)
        samples = max(len(losses), 1)
        return Evaluation(
            samples=len(losses),
            loss=sum(losses) / samples,
            accuracy=float(np.trace(confusion)) / samples,
            confusion=confusion,
        )

    async def take(self, visit: Visit, *, train: bool) -> SmashedData:
        """Has the board capture a visit's sample. A subclass may ask somebody to speak before."""
        return await self.device.sample(next(self._sample_numbers), visit.recording, train=train)

    async def _look(self, visit: Visit) -> SmashedData:
        """Takes a sample without learning, if need be over several connections."""
        while True:
            try:
                return await self.take(visit, train=False)
            except LinkLost as lost:
                step = self.last_step
                await self._connect_again(lost)
                await self._rejoin()
                if self.last_step != step:
                    raise DeviceFault(
                        f"the board has lost what it learned since step {self.last_step}, amid a measurement",
                        "train on from there with --resume, and measure then",
                    ) from lost

    def _is_due(self, end: int) -> bool:
        every = self.settings.checkpoint_every
        return self.last_step == end or (every > 0 and self.last_step % every == 0)

    async def _step(self, batch: Sequence[Visit]) -> StepDone:
        step = self.last_step + 1
        try:
            losses, correct, saturated = await self._accumulate(batch, step)
            applied = await self._apply(step, len(batch)) if self.settings.update_head else None
        except BaseException:
            # Not awaited, for this task may be cancelled; the worker does it before anything asked for later.
            self._worker.submit(self.tail.discard)
            raise
        # From here on the step is made, also when this task is cancelled.
        rate = _rate(self.settings.learning_rate, step)
        committed = self._worker.start(self.tail.apply, len(batch), rate)
        self.last_step = step
        self._gradient.end()
        await committed
        if applied is not None:
            saturated = applied.saturated
            self._weights_crc = applied.weights_crc
            await self._widen(saturated / (len(batch) * self.tail.count))
        return StepDone(
            step=step,
            samples=len(batch),
            loss=sum(losses) / len(losses),
            correct=correct,
            weights_crc=None if applied is None else applied.weights_crc,
            saturated=saturated,
            scale=self._scale,
            clipped=self._gradient.clipped,
        )

    async def _accumulate(self, batch: Sequence[Visit], step: int) -> tuple[list[float], int, int]:
        """Takes the step's samples; gradients gather on both sides. Returns losses, correct, saturated."""
        self._gradient.begin(step)
        losses: list[float] = []
        correct = saturated = 0
        update_head = self.settings.update_head
        for visit in batch:
            smashed = await self.take(visit, train=update_head)
            try:
                label = self._label(visit, smashed)
                outcome, integers, scale = await self._worker.run(self._learn, visit, smashed, label)
            except (LabelError, NumberError):
                if update_head:
                    await self.device.clear()
                raise
            if update_head:
                # The mean over the mini-batch: the board adds up, and knows nothing of its size.
                self.device.gradient(smashed, integers, scale / len(batch))
            self._scale, self._zero_point = smashed.scale, smashed.zero_point
            saturated += smashed.saturated
            correct += outcome.predicted == label
            losses.append(outcome.loss)
        return losses, correct, saturated

    def _learn(
        self, visit: Visit, smashed: SmashedData, label: int
    ) -> tuple[TailStep, npt.NDArray[np.int8], float]:
        """One sample's work in the tail's thread."""
        outcome = self.tail.step(smashed.values, smashed.scale, smashed.zero_point, label)
        if not (math.isfinite(outcome.loss) and np.isfinite(outcome.gradient).all()):
            raise NumberError(
                f"recording {visit.recording}, label {label}: loss or gradient not finite ({outcome.loss})",
                "lower the learning rate; the board and the tail are as after the step before",
            )
        integers, scale = self._gradient.quantize(outcome.gradient, smashed.masked)
        return outcome, integers, scale

    async def _apply(self, step: int, samples: int) -> Applied:
        """Ends the step on the board; after a lost link, finds out whether the board had ended it.

        Raises:
            LinkLost: it had not, or nobody can tell.
        """
        settings = self.settings
        rate = _rate(settings.board_learning_rate or settings.learning_rate, step)
        while True:
            try:
                applied = await self.device.apply(step, samples, rate)
            except LinkLost as lost:
                await self._connect_again(lost)
                welcome = self.device.welcome
                if (welcome.run, welcome.last_step) != (self._ledger.run, step):
                    raise _BehindStep from lost
                await self._configure(restart=False)
            else:
                return self._plausible(applied, samples * self.tail.count)

    def _plausible(self, applied: Applied, outputs: int) -> Applied:
        if applied.saturated > outputs:
            raise DeviceFault(
                f"{self.device.url}: {applied.saturated} of {outputs} outputs saturated in a step",
                "flash the board with the firmware of its bundle; it does not keep to the protocol",
            )
        return applied

    async def _connect_again(self, lost: LinkLost) -> None:
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

    async def _rejoin(self) -> None:
        """Brings both sides to their last common step, if need be over several connections."""
        for _ in range(RECONNECTIONS - 1):
            try:
                await self._agree(live=self.last_step)
            except LinkLost as lost:
                await self._connect_again(lost)
            else:
                return
        await self._agree(live=self.last_step)

    async def _agree(self, live: int | None) -> None:
        """Brings a board that has been greeted, and the tail, to their last common step.

        Raises:
            DeviceFault: they have none, or the board's weights are not those of that step.
        """
        if not self.settings.update_head:
            await self._configure(restart=False)
            if live is None:
                await self._go_back(self._ledger.steps()[-1])
            return
        welcome, kept = self.device.welcome, self._ledger.steps()
        meeting = meet(welcome, self._ledger.run, live=live, kept=kept)
        if meeting is None:
            raise DeviceFault(
                f"the board is at step {welcome.last_step} of another run or restarted, the tail at step "
                f"{kept[-1] if live is None else live}: they have no step in common",
                "begin a new run, without --resume",
            )
        if meeting.way is Way.RESTORE:
            restored = await self.device.restore(self._ledger.run, meeting.step)
            self._check(meeting.step, restored.weights_crc)
        await self._configure(restart=meeting.way is Way.RESTART)
        if meeting.step != live:
            await self._go_back(meeting.step)

    async def _go_back(self, step: int) -> None:
        self._weights_crc = await self._worker.run(self._past.go_back, step)
        self.last_step = step

    def _check(self, step: int, weights_crc: int) -> None:
        due = self._ledger.load(step).weights_crc if step in self._ledger.steps() else self._weights_crc
        if due is not None and due != weights_crc:
            raise DeviceFault(
                f"the board's weights of step {step} have CRC-32 {weights_crc:08X}, the host noted {due:08X}",
                "the board's storage belongs to another training; begin a new run, without --resume",
            )

    async def _checkpoint(self) -> None:
        """Makes the present step durable: here first, then on the board, when it has a storage."""
        await self.keep()
        if not self.settings.update_head:
            await self._worker.run(self._ledger.saved, self.last_step)
        elif self.device.welcome.flags & Flag.STORAGE and self.last_step > 0:
            await self.device.save(self.last_step)
            self.saves += 1
            await self._worker.run(self._ledger.saved, self.last_step)

    async def _configure(self, *, restart: bool) -> int:
        """Returns the board's last step."""
        settings = self.settings
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

    async def _widen(self, saturated: float) -> None:
        if saturated > self.settings.rescale_threshold:
            wider = self._scale * self.settings.rescale_factor
            # Both ends of the range move away from the zero point, and a ReLU's zero stays where it is.
            self._scale = (await self.device.rescale(wider, self._zero_point)).scale

    def _label(self, visit: Visit, smashed: SmashedData) -> int:
        label = smashed.label if visit.label is None else visit.label
        if label == NO_LABEL:
            raise LabelError(
                f"recording {visit.recording} has no label: the board knows none",
                "give the labels with --labels FILE",
            )
        last = self.tail.class_count - 1
        if not 0 <= label <= last:
            raise LabelError(
                f"recording {visit.recording} has label {label}, the tail knows 0 to {last}",
                "check that the labels count classes as the model does",
            )
        return label


def _rate(rate: float | Callable[[int], float], step: int) -> float:
    return rate(step) if callable(rate) else rate
