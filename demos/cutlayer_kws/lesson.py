"""One training of the demo on one emulated board, through the trainer and the link, and its measurement."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from cutlayer_host.codes import Section

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cutlayer_boards.build import Firmware
    from cutlayer_host.device import Device
    from cutlayer_host.report import StepDone
    from cutlayer_host.transports.faulty import FaultRates
    from cutlayer_kws.budget import Budget

ZERO_SUPPRESSED_INT8 = 16
INT8 = 0


@dataclass(frozen=True, slots=True)
class LessonPlan:
    """What to do with which board.

    Attributes:
        board: Name of the board.
        bundle: Whose tail learns.
        firmware: Built of the same bundle for `board`.
        microphone: What the board hears, with its labels.
        visits: Recordings to learn from, in order.
        test: Recordings to measure accuracy with at the end.
        budget: Mini-batches and rates.
        update_head: False: only the tail learns.
        seed: Of the gradient's rounding.
        count_instructions: Let QEMU count.
        faults: Of the link, on purpose; None leaves it as it is.
    """

    board: str
    bundle: Path
    firmware: Firmware
    microphone: Path
    visits: tuple[int, ...]
    test: tuple[int, ...]
    budget: Budget
    update_head: bool = True
    seed: int = 0
    count_instructions: bool = False
    faults: FaultRates | None = None


@dataclass(frozen=True, slots=True)
class LessonResult:
    """What came of a lesson.

    Attributes:
        accuracy: On the test recordings; NaN without any.
        confusion: Test recordings by [word][named as].
        correct: Of each step's samples, the share named rightly before the step.
        weights_crc: Of the board's layer after each step; empty when the head is frozen.
        weights: The sections of the board's layer at the end, by name.
        tail_crc: Of the tail's weights at the end.
        samples: Visits made.
        steps: Steps made.
        seconds: Of the training alone.
        tensorflow_seconds: Of these, inside TensorFlow.
        stats: The board's counters after the training, before the measurement.
        wire_bytes: What the training took up and down the link.
        saturated: Share of the last step's outputs at the end of their range.
        frames_sent_again: By the board (up) and by the host (down), from the greeting on.
        faults: Frames that went over a link with `LessonPlan.faults`, both ways, the lost and the corrupted.
    """

    accuracy: float
    confusion: list[list[int]]
    correct: list[float]
    weights_crc: list[int]
    weights: dict[str, bytes]
    tail_crc: int
    samples: int
    steps: int
    seconds: float
    tensorflow_seconds: float
    stats: dict[str, int]
    wire_bytes: dict[str, int] = field(default_factory=dict)
    saturated: int = 0
    frames_sent_again: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def learned(self) -> tuple[object, ...]:
        """All that must be the same, bit for bit, wherever the same samples are learned."""
        return self.samples, self.weights_crc, self.weights, self.tail_crc, self.correct


def run_lesson(plan: LessonPlan, on_sample: Callable[[int, int], None] = lambda *_: None) -> LessonResult:
    """Boots the board, trains, measures, and stops the board. `on_sample(done, total)` counts samples."""
    return asyncio.run(_run(plan, on_sample))


async def _run(plan: LessonPlan, on_sample: Callable[[int, int], None]) -> LessonResult:
    from cutlayer_boards.emulator import emulate
    from cutlayer_boards.spec import board
    from cutlayer_converter.bundle import load_manifest
    from cutlayer_host.device import Device
    from cutlayer_host.transports import open_transport
    from cutlayer_host.transports.faulty import FaultyTransport

    running = emulate(
        board(plan.board), plan.firmware, plan.microphone, count_instructions=plan.count_instructions
    )
    async with running as node:
        transport = await open_transport(node.url)
        if plan.faults is not None:
            transport = FaultyTransport(transport, plan.faults)
        device = await Device.open(transport, key=node.key)
        try:
            device.require_model(load_manifest(plan.bundle).model_id, plan.bundle)
            result = await _teach(device, plan, on_sample)
        finally:
            await device.close()
    if isinstance(transport, FaultyTransport):
        return replace(result, faults=asdict(transport.counts))
    return result


async def _teach(device: Device, plan: LessonPlan, on_sample: Callable[[int, int], None]) -> LessonResult:
    from cutlayer_host.settings import TrainSettings, Visit
    from cutlayer_host.tail import Tail, TailSettings
    from cutlayer_host.trainer import Trainer
    from cutlayer_host.worker import TailWorker

    budget = plan.budget
    settings = TrainSettings(
        batch_size=budget.batch_size,
        learning_rate=budget.tail_rate,
        board_learning_rate=budget.board_rate,
        optimizer=budget.board_optimizer or budget.optimizer,
        update_head=plan.update_head,
        activation_codec=ZERO_SUPPRESSED_INT8,
        gradient_codec=INT8,
        seed=plan.seed,
    )
    total = len(plan.visits) + len(plan.test)
    steps: list[StepDone] = []

    def on_step(done: StepDone) -> None:
        steps.append(done)
        on_sample(len(steps) * budget.batch_size, total)

    async with TailWorker() as worker:
        tail = await worker.run(
            Tail.load, plan.bundle / "tail.keras", TailSettings(optimizer=budget.optimizer, seed=plan.seed)
        )
        trainer = Trainer(device, tail, worker, settings)
        await trainer.start()
        before = await device.stats()
        report = await trainer.train([Visit(recording) for recording in plan.visits], on_step=on_step)
        after = await device.stats()
        weights = {section.name.lower(): await device.read(section) for section in Section}
        measured = await trainer.evaluate(
            [Visit(recording) for recording in plan.test],
            on_sample=lambda done: on_sample(len(plan.visits) + done, total),
        )
    return LessonResult(
        accuracy=measured.accuracy if plan.test else float("nan"),
        confusion=measured.confusion.tolist(),
        correct=[done.correct / done.samples for done in steps],
        weights_crc=[done.weights_crc for done in steps if done.weights_crc is not None],
        weights=weights,
        tail_crc=report.tail_crc,
        samples=report.samples,
        steps=report.steps,
        seconds=report.seconds,
        tensorflow_seconds=report.tensorflow_seconds,
        stats=after,
        wire_bytes={
            "up": after["bytes_sent"] - before["bytes_sent"],
            "down": after["bytes_received"] - before["bytes_received"],
        },
        saturated=steps[-1].saturated if steps else 0,
        frames_sent_again={"up": after["frames_sent_again"], "down": device.session.link.sent_again},
    )
