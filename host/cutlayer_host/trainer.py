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
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host.codes import NO_LABEL, Flag
from cutlayer_host.errors import DeviceError, DeviceFault, LabelError, LinkLost, NumberError, TailError
from cutlayer_host.gradient import GradientQuantizer
from cutlayer_host.pair import Pair
from cutlayer_host.report import Evaluation, StepDone, Tally
from cutlayer_host.settings import TrainSettings
from cutlayer_host.tensors import GRADIENT_LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    import numpy.typing as npt

    from cutlayer_host.board_messages import Applied
    from cutlayer_host.checkpoint import Ledger
    from cutlayer_host.device import Device
    from cutlayer_host.report import TrainReport
    from cutlayer_host.settings import Visit
    from cutlayer_host.smashed_data import SmashedData
    from cutlayer_host.tail import Tail, TailStep
    from cutlayer_host.worker import TailWorker


SMALLEST_PROBABILITY = 1e-7
"""What a class gets at least where a loss is worked out from probabilities."""


class _BehindStep(Exception):
    """The board has not applied the step in hand: both sides have to agree where to go on."""


class Trainer:
    """Trains one device's head and its tail. Call `start` first, then `train` and `evaluate` in any order.

    Attributes:
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
        self.tail = tail
        self.settings = settings or TrainSettings()
        self.stopping = False
        self._worker = worker
        self._sample_numbers = itertools.count(1)
        limit = GRADIENT_LIMITS[self.settings.gradient_codec]
        self._gradient = GradientQuantizer(limit, seed=self.settings.seed)
        self._pair = Pair(device, tail, self._gradient, worker, self.settings, reconnect, ledger)
        self._scale = 0.0
        self._zero_point = 0

    @property
    def base(self) -> int:
        """The step at which the run began: 0, or what the board had learned before."""
        return self._pair.base

    @property
    def device(self) -> Device:
        """The board's; another object after its link was lost."""
        return self._pair.device

    @property
    def last_step(self) -> int:
        """Steps that the tail has made."""
        return self._pair.last_step

    @property
    def saves(self) -> int:
        """How often the board was had to write its storage."""
        return self._pair.saves

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
        await self._pair.begin()

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
                    await self._pair.checkpoint()
                    checkpointed = self.last_step
            except LinkLost as lost:
                await self._pair.connect_again(lost)
                await self._pair.rejoin()
            except _BehindStep:
                await self._pair.rejoin()

    async def keep(self) -> None:
        """Makes the present step durable here, for a training that ends amid the next one."""
        await self._pair.keep()

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
                await self._pair.connect_again(lost)
                await self._pair.rejoin()
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
        self._pair.last_step = step
        self._gradient.end()
        await committed
        if applied is not None:
            saturated = applied.saturated
            self._pair.weights_crc = applied.weights_crc
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
                await self._pair.connect_again(lost)
                if not self._pair.holds:
                    raise _BehindStep from lost
                await self._pair.configure(restart=False)
            else:
                return self._plausible(applied, samples * self.tail.count)

    def _plausible(self, applied: Applied, outputs: int) -> Applied:
        if applied.saturated > outputs:
            raise DeviceFault(
                f"{self.device.url}: {applied.saturated} of {outputs} outputs saturated in a step",
                "flash the board with the firmware of its bundle; it does not keep to the protocol",
            )
        return applied

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
