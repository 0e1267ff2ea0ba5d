"""A lesson: one device trained with one bundle's tail, from the first sample to the measured result."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_host.codes import LIVE_RECORDING
from cutlayer_host.errors import BundleMismatch, DeviceFault, LabelError
from cutlayer_host.report import Tally
from cutlayer_host.settings import Visit
from cutlayer_host.tail import Tail
from cutlayer_host.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from cutlayer_converter.bundle import Manifest
    from cutlayer_host.device import Device
    from cutlayer_host.report import Evaluation, StepDone
    from cutlayer_host.run import Run
    from cutlayer_host.settings import TrainSettings
    from cutlayer_host.tail import TailSettings
    from cutlayer_host.worker import TailWorker


@dataclasses.dataclass(frozen=True, slots=True)
class Curriculum:
    """Which samples a lesson visits.

    Attributes:
        samples: how many visits.
        hold_out: recordings at the end of the board's list that are only measured.
        labels: a class for each recording; None: the board knows.
        seed: of the order, which is anew for each pass over the recordings.
    """

    samples: int
    hold_out: int = 0
    labels: Sequence[int] | None = None
    seed: int = 0

    def check(self, recordings: int) -> None:
        """Checks against what a board has.

        Raises:
            LabelError: not one label a recording, or nothing left to train on.
        """
        if self.labels is not None and len(self.labels) != recordings:
            raise LabelError(
                f"{len(self.labels)} labels for {recordings} recordings on the board",
                "give one byte a recording with --labels",
            )
        if self.hold_out and self.hold_out >= recordings:
            raise LabelError(
                f"--hold-out {self.hold_out} leaves none of {recordings} recordings to train on",
                "hold out fewer",
            )

    def visits(self, recordings: int) -> Iterator[Visit]:
        """All visits in order; a board without recordings is asked for what it hears next."""
        if recordings == 0:
            yield from (Visit(LIVE_RECORDING) for _ in range(self.samples))
            return
        random = np.random.default_rng(self.seed)
        left = self.samples
        while left > 0:
            order = random.permutation(recordings - self.hold_out)[:left]
            yield from (self._visit(int(recording)) for recording in order)
            left -= len(order)

    def held_out(self, recordings: int) -> list[Visit]:
        """The recordings that are only measured."""
        return [self._visit(recording) for recording in range(recordings - self.hold_out, recordings)]

    def _visit(self, recording: int) -> Visit:
        return Visit(recording, None if self.labels is None else int(self.labels[recording]))


class Lesson:
    """Trains one device: `steps` does the work.

    Attributes:
        device: which may be another object after its link was lost.
        result: what came of it, for JSON; empty until `steps` has ended.
        last_step: that both sides have made.
    """

    def __init__(
        self,
        device: Device,
        bundle: Path,
        manifest: Manifest,
        worker: TailWorker,
        curriculum: Curriculum,
        train_settings: TrainSettings,
        tail_settings: TailSettings,
        reconnect: Callable[[], Awaitable[Device]] | None = None,
    ) -> None:
        """Does nothing yet; `reconnect` opens the device anew when its link is lost."""
        self.device = device
        self._bundle = bundle
        self._manifest = manifest
        self._worker = worker
        self._curriculum = curriculum
        self._train_settings = train_settings
        self._tail_settings = tail_settings
        self._reconnect = reconnect
        self.result: dict[str, Any] = {}
        self.last_step = 0
        self._trainer: Trainer | None = None
        self._stopping = False

    def stop(self) -> None:
        """Ends `steps` after the step in hand, with a checkpoint and without a result."""
        self._stopping = True
        if self._trainer is not None:
            self._trainer.stopping = True

    async def steps(self, run: Run | None = None) -> AsyncIterator[StepDone]:
        """Trains step by step, then measures the recordings held out, and leaves a run that is finished.

        A run with checkpoints goes on at the last step that both sides have.

        Raises:
            BundleMismatch: the board runs another model than the bundle's.
            HostError: whatever ends a training; see Trainer.train.
        """
        if run is not None and run.result:
            self.result = run.result
            return
        self.check_board()
        recordings = self.device.welcome.recordings
        self._curriculum.check(recordings)
        tail = await self._worker.run(Tail.load, self._bundle / "tail.keras", self._tail_settings)
        trainer = Trainer(
            self.device,
            tail,
            self._worker,
            self._train_settings,
            reconnect=self._reconnect and self._reach,
            ledger=run,
        )
        self._trainer = trainer
        trainer.stopping = self._stopping
        try:
            await trainer.start()
            tally = Tally(tail)
            for done in run.history() if run is not None else ():
                tally.add(done)
            visits = self._curriculum.visits(recordings)
            async for done in trainer.steps(visits, base=trainer.base):
                tally.add(done)
                if run is not None:
                    run.record(done)
                yield done
            if not self._stopping:
                await self._finish(trainer, tally, run)
        finally:
            self.device = trainer.device
            self.last_step = trainer.last_step

    def check_board(self) -> None:
        """Checks that the board is its bundle's, before anything of the size it says is made.

        Raises:
            BundleMismatch: it runs another model.
            DeviceFault: its sizes are not the bundle's.
        """
        self.device.require_model(self._manifest.model_id, self._bundle)
        welcome, manifest = self.device.welcome, self._manifest
        layer = manifest.trainable
        due = {
            "smashed_count": manifest.smashed.count,
            "cut_count": len(manifest.cuts),
            "weight_count": 0 if layer is None else layer.weight_count,
            "channel_count": 0 if layer is None else layer.channel_count,
        }
        for name, count in due.items():
            if getattr(welcome, name) != count:
                raise DeviceFault(
                    f"{self.device.url} says it has {name} {getattr(welcome, name)}, its bundle has {count}",
                    f"flash the board with the firmware of {self._bundle}",
                )

    async def _reach(self) -> Device:
        """The device anew, if it still runs the bundle's model."""
        assert self._reconnect is not None
        device = await self._reconnect()
        try:
            device.require_model(self._manifest.model_id, self._bundle)
        except BundleMismatch:
            await device.close()
            raise
        return device

    async def _finish(self, trainer: Trainer, tally: Tally, run: Run | None) -> None:
        report = await self._worker.run(tally.report)
        result = {
            "device": trainer.device.url,
            "board": trainer.device.welcome.board,
            "model_id": self._manifest.model_id,
            **dataclasses.asdict(report),
            "saves": trainer.saves,
        }
        if held_out := self._curriculum.held_out(trainer.device.welcome.recordings):
            result["held_out"] = _as_json(await trainer.evaluate(held_out))
        if run is not None:
            result["run"] = run.number
            await self._worker.run(run.finish, result)
        self.result = result


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "samples": evaluation.samples,
        "loss": evaluation.loss,
        "accuracy": evaluation.accuracy,
        "confusion": evaluation.confusion.tolist(),
    }
