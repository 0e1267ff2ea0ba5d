"""Training across the cut: sample, tail, gradient, and both sides update at the end of each mini-batch.

A step is one mini-batch. The board accumulates the gradient of its layer, the tail that of its weights; APPLY
ends the step. The tail is committed only once the board says APPLIED, so a step happens on both sides or on
neither, also when the link is lost: after it is back, the board's last step says which.

The order of everything is given by the visits; with the same seed, a run repeats bit for bit.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host.errors import DeviceError, DeviceFault, LabelError, LinkLost, NumberError, TailError
from cutlayer_host.gradient import GradientQuantizer
from cutlayer_host.messages import NO_LABEL, Configure, Flag, Optimizer
from cutlayer_host.optimizer import OptimizerSettings
from cutlayer_host.report import Evaluation, StepDone, Tally
from cutlayer_host.tensors import GRADIENT_LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from cutlayer_host.device import Device
    from cutlayer_host.messages import Applied
    from cutlayer_host.report import TrainReport
    from cutlayer_host.session import SmashedData
    from cutlayer_host.tail import Tail, TailStep
    from cutlayer_host.worker import TailWorker


SMALLEST_PROBABILITY = 1e-7
"""What a class gets at least where a loss is worked out from probabilities."""

RECONNECTIONS = 5
"""How often a lost link is opened again before training gives up."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One sample to take: the board's recording and, unless the board knows it, the label."""

    recording: int
    label: int | None = None


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train.

    Attributes:
        batch_size: samples a step.
        learning_rate: of the tail, and of the board's layer unless `board_learning_rate` says otherwise; a
            function takes the step's number, from 1.
        update_head: False leaves the board's layer as it is: only the tail learns.
        restart: begin with the converted weights; False goes on with what the board has.
        activation_codec, gradient_codec: SPEC.md, section 3.3.
        rescale_threshold: share of a step's outputs that may saturate before the scale is widened.
        rescale_factor: how much wider the scale then gets.
        seed: of the gradient's rounding.
    """

    batch_size: int = 8
    learning_rate: float | Callable[[int], float] = 1e-3
    board_learning_rate: float | Callable[[int], float] | None = None
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    update_head: bool = True
    restart: bool = True
    activation_codec: int = 0
    gradient_codec: int = 0
    rescale_threshold: float = 0.02
    rescale_factor: float = 1.25
    seed: int = 0


class Trainer:
    """Trains one device's head and its tail. Call `start` first, then `train` and `evaluate` in any order."""

    def __init__(
        self,
        device: Device,
        tail: Tail,
        worker: TailWorker,
        settings: TrainSettings | None = None,
        *,
        reconnect: Callable[[], Awaitable[Device]] | None = None,
    ) -> None:
        """`reconnect` opens the device anew when its link is lost; without it, LinkLost ends the training.

        The old device is closed before, the new one is the caller's to close, as `device`.
        """
        self.device = device
        self.tail = tail
        self.settings = settings or TrainSettings()
        self.last_step = 0
        self._worker = worker
        self._reconnect = reconnect
        self._sample_numbers = itertools.count(1)
        limit = GRADIENT_LIMITS[self.settings.gradient_codec]
        self._gradient = GradientQuantizer(limit, seed=self.settings.seed)
        self._scale = 0.0
        self._zero_point = 0

    async def start(self) -> None:
        """Configures the board.

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
        self.last_step = await self._configure(restart=self.settings.restart)

    async def steps(self, visits: Iterable[Visit]) -> AsyncIterator[StepDone]:
        """Visits each sample once, in order, and yields each step made; the last may have fewer samples.

        Raises:
            LabelError, NumberError, DeviceError, LinkLost: the step in hand was made on neither side.
        """
        for batch in _batches(visits, self.settings.batch_size):
            yield await self._step_once(batch)

    async def train(
        self, visits: Iterable[Visit], *, on_step: Callable[[StepDone], None] | None = None
    ) -> TrainReport:
        """Makes all `steps` and returns what they came to; `on_step` is told of each."""
        tally = Tally(self.tail)
        async for done in self.steps(visits):
            tally.add(done)
            if on_step is not None:
                on_step(done)
        return await self._worker.run(tally.report)

    async def evaluate(
        self, visits: Iterable[Visit], *, on_sample: Callable[[int], None] | None = None
    ) -> Evaluation:
        """Runs head and tail without learning; `on_sample` is told how many are done.

        Raises:
            LabelError, DeviceError, LinkLost.
        """
        confusion = np.zeros((self.tail.class_count, self.tail.class_count), np.int64)
        losses: list[float] = []

        async def count(label: int, outputs: Awaitable[npt.NDArray[np.float32]]) -> None:
            probabilities = await outputs
            confusion[label, int(probabilities.argmax())] += 1
            losses.append(-math.log(max(float(probabilities[label]), SMALLEST_PROBABILITY)))
            if on_sample is not None:
                on_sample(len(losses))

        # The board takes the next sample while the tail looks at this one.
        before: tuple[int, Awaitable[npt.NDArray[np.float32]]] | None = None
        for visit in visits:
            smashed = await self.take(visit, train=False)
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

    async def _step_once(self, batch: Sequence[Visit]) -> StepDone:
        """Makes one step, if need be over several connections."""
        while True:
            try:
                return await self._step(batch)
            except LinkLost as lost:
                board_step = await self._connect_again(lost)
                if self.settings.update_head and board_step != self.last_step:
                    raise DeviceFault(
                        f"the board is at step {board_step}, the tail at step {self.last_step}",
                        "the board has restarted and lost its weights; train again from the beginning",
                    ) from lost

    async def _step(self, batch: Sequence[Visit]) -> StepDone:
        step = self.last_step + 1
        try:
            losses, correct, saturated = await self._accumulate(batch, step)
            applied = await self._apply(step, len(batch)) if self.settings.update_head else None
            rate = _rate(self.settings.learning_rate, step)
            await self._worker.run(self.tail.apply, len(batch), rate)
        except BaseException:
            # Not awaited, for this task may be cancelled; the worker does it before anything asked for later.
            self._worker.submit(self.tail.discard)
            raise
        self.last_step = step
        self._gradient.end()
        if applied is not None:
            saturated = applied.saturated
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
                return await self.device.apply(step, samples, rate)
            except LinkLost as lost:
                if await self._connect_again(lost) != step:
                    raise

    async def _connect_again(self, lost: LinkLost) -> int:
        """Returns the board's last step; raises `lost` when there is no way back."""
        if self._reconnect is None:
            raise lost
        for _ in range(RECONNECTIONS):
            await self.device.close()
            try:
                self.device = await self._reconnect()
                return await self._configure(restart=False)
            except LinkLost:
                continue
        raise lost

    async def _configure(self, *, restart: bool) -> int:
        """Returns the board's last step."""
        settings = self.settings
        configuration = Configure(
            restart=restart,
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


def _batches(visits: Iterable[Visit], size: int) -> Iterator[list[Visit]]:
    iterator = iter(visits)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _rate(rate: float | Callable[[int], float], step: int) -> float:
    return rate(step) if callable(rate) else rate
