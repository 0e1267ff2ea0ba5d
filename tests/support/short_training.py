"""A short training of a board double and a plain tail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from double_board import CLASSES, RECORDINGS, Reach
from plain_tail import PlainTail

from cutlayer_host.optimizer import OptimizerSettings
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.trainer import Trainer
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from cutlayer_host.double import BoardDouble
    from cutlayer_host.report import StepDone, TrainReport

SETTINGS = TrainSettings(
    batch_size=3, learning_rate=0.05, optimizer=OptimizerSettings("sgd", momentum=0.0), rescale_threshold=1.0
)
VISITS = [Visit(number * 7 % RECORDINGS) for number in range(20)]


async def train(
    board: BoardDouble, settings: TrainSettings = SETTINGS, visits: list[Visit] = VISITS
) -> tuple[TrainReport, PlainTail, list[StepDone]]:
    tail = PlainTail(64, CLASSES)
    steps: list[StepDone] = []
    async with Reach(board) as reach, TailWorker() as worker:
        trainer = Trainer(await reach.device(), tail, worker, settings)
        await trainer.start()
        report = await trainer.train(visits, on_step=steps.append)
    return report, tail, steps
