"""The trainer against the double: a step happens on both sides or on neither, whatever breaks."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from double_board import CLASSES, RECORDINGS, Reach, double_board
from plain_tail import PlainTail

from cutlayer_host.checkpoint import Checkpoint, MemoryLedger
from cutlayer_host.codes import LIVE_RECORDING, Kind
from cutlayer_host.errors import DeviceError, DeviceFault, LabelError, LinkLost, NumberError, TailError
from cutlayer_host.lesson import Curriculum
from cutlayer_host.optimizer import OptimizerSettings
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.trainer import Trainer
from cutlayer_host.transports.faulty import CutTransport
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from cutlayer_host.device import Device
    from cutlayer_host.double import BoardDouble
    from cutlayer_host.report import StepDone, TrainReport

SETTINGS = TrainSettings(
    batch_size=3, learning_rate=0.05, optimizer=OptimizerSettings("sgd", momentum=0.0), rescale_threshold=1.0
)
VISITS = [Visit(number * 7 % RECORDINGS) for number in range(20)]
ALL = [Visit(recording) for recording in range(RECORDINGS)]


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


async def test_both_sides_learn() -> None:
    board = double_board()
    async with Reach(board) as reach, TailWorker() as worker:
        trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, SETTINGS)
        await trainer.start()
        before = await trainer.evaluate(ALL)
        report = await trainer.train(VISITS * 5)
        after = await trainer.evaluate(ALL)
    assert after.loss < before.loss / 2
    assert after.accuracy == 1.0
    assert after.confusion.sum() == after.samples == RECORDINGS
    assert board.bias.any()
    assert report.steps == board.last_step == 34
    assert report.samples == 100
    assert report.weights_crc == board.weights_crc


async def test_the_board_gets_the_mean_gradient_of_the_mini_batch() -> None:
    """The last step has two samples: its gradient is divided by two, not by three."""
    board = double_board()
    tail = PlainTail(64, CLASSES)
    expected = np.zeros(64)
    smashed = np.clip(np.rint(board.recordings / np.float32(0.05)) - 128, -128, 127).astype(np.int8)
    for recording in (0, 1):
        gradient = tail.step(smashed[recording], 0.05, -128, recording).gradient
        expected -= 0.05 / 2 * np.where(np.isin(smashed[recording], (-128, 127)), 0, gradient)
    _, _, steps = await train(board, visits=[Visit(0), Visit(1)])
    assert [done.samples for done in steps] == [2]
    assert board.bias == pytest.approx(expected, abs=0.05 * np.abs(expected).max())


async def test_runs_repeat_and_seeds_differ() -> None:
    reports = [(await train(double_board(), replace(SETTINGS, seed=seed)))[0] for seed in (1, 1, 2)]
    crcs = [(report.weights_crc, report.tail_crc, report.loss) for report in reports]
    assert crcs[0] == crcs[1]
    assert crcs[0][0] != crcs[2][0]


async def test_going_on_without_restarting() -> None:
    whole, tail, _ = await train(double_board())
    board = double_board()
    async with Reach(board) as reach, TailWorker() as worker:
        again = PlainTail(64, CLASSES)
        for visits, restart in ((VISITS[:9], True), (VISITS[9:], False)):
            settings = replace(SETTINGS, restart=restart)
            trainer = Trainer(await reach.device(), again, worker, settings)
            await trainer.start()
            report = await trainer.train(visits)
            await trainer.device.close()
    assert board.last_step == whole.steps
    assert report.steps == 4
    assert again.applied == tail.applied


async def cut_training(
    cuts: list[int], *, resets: bool = False, **options: bool
) -> tuple[TrainReport, PlainTail, BoardDouble, int]:
    """Cuts the pipe after so many bytes, and perhaps the board's power with it."""
    board = double_board(**options)
    tail = PlainTail(64, CLASSES)
    left = iter(cuts)
    async with Reach(board) as reach, TailWorker() as worker:

        async def reconnect() -> Device:
            if resets and reach.opened:
                board.reset()
            return await reach.device(lambda inner: CutTransport(inner, next(left, 1 << 30)))

        settings = replace(SETTINGS, checkpoint_every=1)
        trainer = Trainer(await reconnect(), tail, worker, settings, reconnect=reconnect)
        await trainer.start()
        report = await trainer.train(VISITS[:6])
        return report, tail, board, reach.opened


async def test_wherever_the_link_breaks_each_step_happens_once() -> None:
    """Cuts the pipe after every so many bytes, over two whole steps and into a third connection."""
    clean, clean_tail, _, opened = await cut_training([])
    assert opened == 1
    broken = again = 0
    for cut in range(230, 1040, 9):
        report, tail, board, opened = await cut_training([cut, 420])
        assert (report.weights_crc, report.tail_crc) == (clean.weights_crc, clean.tail_crc), cut
        assert board.last_step == tail.applied == clean_tail.applied == 2
        assert board.weights_crc == clean.weights_crc
        broken += opened > 1
        again += board.taken[Kind.APPLY] > 2
    assert broken > 50
    # Some cuts fell between APPLY and APPLIED: the board was asked again, and answered from memory.
    assert again > 3


async def test_without_a_way_back_a_lost_link_ends_training() -> None:
    board = double_board()
    tail = PlainTail(64, CLASSES)
    async with Reach(board) as reach, TailWorker() as worker:
        device = await reach.device(lambda inner: CutTransport(inner, 600))
        trainer = Trainer(device, tail, worker, SETTINGS)
        await trainer.start()
        with pytest.raises(LinkLost):
            await trainer.train(VISITS)
        await worker.run(lambda: None)
    assert not tail._accumulator.any()
    assert tail.applied <= board.last_step <= tail.applied + 1


@pytest.mark.parametrize("storage", [True, False], ids=["storage", "no storage"])
async def test_wherever_the_board_loses_power_each_step_happens_once(storage: bool) -> None:
    """With a storage it goes on where it saved last, without one from the beginning; the end is the same."""
    clean, clean_tail, _, _ = await cut_training([], storage=storage)
    resets = restores = 0
    for cut in range(250, 1500, 23):
        report, tail, board, opened = await cut_training([cut, 700], resets=True, storage=storage)
        assert (report.weights_crc, report.tail_crc) == (clean.weights_crc, clean.tail_crc), cut
        assert (board.last_step, tail.applied, report.steps) == (2, clean_tail.applied, 2)
        resets += opened > 1
        restores += board.taken.get(Kind.RESTORE, 0)
    assert resets > 20
    assert storage or not restores


@pytest.mark.parametrize("every", [1, 2])
async def test_a_host_that_is_killed_anywhere_goes_on(every: int) -> None:
    """The ledger is what outlives it; the board has lost power too, or is at a later step, or amid one."""
    settings = replace(SETTINGS, checkpoint_every=every)
    whole = double_board(storage=True)
    clean, clean_tail, _ = await train(whole, settings)
    for killed_after in range(1, 7):
        for reset in (False, True):
            board, ledger = double_board(storage=True), MemoryLedger(77)
            async with Reach(board) as reach, TailWorker() as worker:
                trainer = Trainer(
                    await reach.device(), PlainTail(64, CLASSES), worker, settings, ledger=ledger
                )
                await trainer.start()
                async with contextlib.aclosing(trainer.steps(VISITS)) as steps:
                    async for done in steps:
                        if done.step == killed_after:
                            break
                await trainer.take(VISITS[0], train=True)
                await trainer.device.close()
                if reset:
                    board.reset()
                tail = PlainTail(64, CLASSES)
                trainer = Trainer(await reach.device(), tail, worker, settings, ledger=ledger)
                await trainer.start()
                assert killed_after - every <= trainer.last_step <= killed_after
                await trainer.train(VISITS, base=trainer.base)
            assert (board.weights_crc, tail.weights_crc()) == (whole.weights_crc, clean_tail.weights_crc())
            assert (board.last_step, tail.applied) == (clean.steps, clean_tail.applied)


async def test_a_save_that_is_cut_costs_the_steps_since_the_one_before() -> None:
    settings = replace(SETTINGS, checkpoint_every=2)
    whole, clean_tail, _ = await train(double_board(storage=True), settings)
    board = double_board(storage=True)
    tail = PlainTail(64, CLASSES)
    made: list[int] = []
    async with Reach(board) as reach, TailWorker() as worker:
        trainer = Trainer(await reach.device(), tail, worker, settings, reconnect=reach.device)
        await trainer.start()
        async for done in trainer.steps(VISITS):
            made.append(done.step)
            board.power_cut = board.power_cut or made == [1, 2, 3, 4]
    assert made == [1, 2, 3, 4, 3, 4, 5, 6, 7]
    assert (board.weights_crc, tail.weights_crc()) == (whole.weights_crc, clean_tail.weights_crc())


async def test_a_board_that_belongs_to_another_run_is_not_trained_on() -> None:
    board, ledger = double_board(storage=True), MemoryLedger(1)
    settings = replace(SETTINGS, checkpoint_every=2, restart=False)
    async with Reach(board) as reach, TailWorker() as worker:
        for each in (MemoryLedger(7), ledger, MemoryLedger(2)):
            trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, settings, ledger=each)
            await trainer.start()
            await trainer.train(VISITS)
            await trainer.device.close()
        trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, settings, ledger=ledger)
        with pytest.raises(DeviceFault, match="no step in common") as caught:
            await trainer.start()
    assert "--resume" in (caught.value.hint or "")


async def test_a_storage_that_holds_other_weights_is_noticed() -> None:
    board, ledger = double_board(storage=True), MemoryLedger(1)
    settings = replace(SETTINGS, checkpoint_every=2)
    async with Reach(board) as reach, TailWorker() as worker:
        trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, settings, ledger=ledger)
        await trainer.start()
        await trainer.train(VISITS[:12])
        await trainer.device.close()
        assert board.storage
        board.storage[0].bias[0] += 1
        board.last_step = 99
        trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, settings, ledger=ledger)
        with pytest.raises(DeviceFault, match="the board's weights of step 4"):
            await trainer.start()


async def test_a_checkpoint_is_read_once_and_in_the_tails_thread() -> None:
    class Watched(MemoryLedger):
        readers: ClassVar[list[str]] = []

        def load(self, step: int) -> Checkpoint:
            self.readers.append(threading.current_thread().name)
            return super().load(step)

    board, ledger = double_board(storage=True), Watched(1)
    settings = replace(SETTINGS, checkpoint_every=2)
    async with Reach(board) as reach, TailWorker() as worker:
        for visits in (VISITS[:12], VISITS):
            trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, settings, ledger=ledger)
            await trainer.start()
            await trainer.train(visits, base=trainer.base)
            await trainer.device.close()
            board.last_step = 99  # so that it has to take the step from its storage
    (reader,) = ledger.readers
    assert board.taken[Kind.RESTORE] == 1
    assert reader.startswith("cutlayer-tail")


async def test_a_training_that_is_stopped_goes_on() -> None:
    settings = replace(SETTINGS, checkpoint_every=5)
    whole, clean_tail, _ = await train(double_board(storage=True), settings)
    board, ledger, tail = double_board(storage=True), MemoryLedger(1), PlainTail(64, CLASSES)
    async with Reach(board) as reach, TailWorker() as worker:
        trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, settings, ledger=ledger)
        await trainer.start()
        async for done in trainer.steps(VISITS):
            trainer.stopping = done.step == 3
        assert trainer.last_step == 3
        assert ledger.steps() == [0, 3]
        await trainer.device.close()
        trainer = Trainer(await reach.device(), tail, worker, settings, ledger=ledger)
        await trainer.start()
        assert trainer.last_step == 3
        await trainer.train(VISITS, base=trainer.base)
    assert (board.weights_crc, tail.weights_crc()) == (whole.weights_crc, clean_tail.weights_crc())


async def test_nothing_is_made_again_that_came_before_this_part() -> None:
    """Without a storage, a reset in a second part of the training leaves nothing in common with it."""
    board = double_board()
    async with Reach(board) as reach, TailWorker() as worker:

        async def reconnect() -> Device:
            board.reset()
            return await reach.device()

        trainer = Trainer(await reach.device(), PlainTail(64, CLASSES), worker, SETTINGS, reconnect=reconnect)
        await trainer.start()
        await trainer.train(VISITS)
        await trainer.device.close()
        with pytest.raises(DeviceFault, match="only step 0 in common") as caught:
            await trainer.train(VISITS)
        assert "restarted" in (caught.value.hint or "")


async def test_a_bad_number_ends_the_step_on_both_sides() -> None:
    board = double_board()
    tail = PlainTail(64, CLASSES)
    tail.poisoned_label = 2
    async with Reach(board) as reach, TailWorker() as worker:
        trainer = Trainer(await reach.device(), tail, worker, SETTINGS)
        await trainer.start()
        await trainer.train([Visit(0), Visit(1)])
        with pytest.raises(NumberError, match="recording 2, label 2") as caught:
            await trainer.train([Visit(0), Visit(2), Visit(1)])
        assert caught.value.hint
        assert board.taken[Kind.CLEAR] == 1
        # Nothing of the half step is left: the next one counts its own samples.
        report = await trainer.train([Visit(0), Visit(1), Visit(3)])
    assert report.steps == 1
    assert tail.applied == board.last_step == 2


@pytest.mark.parametrize(
    ("labels", "visit", "message"),
    [
        (None, Visit(3), "recording 3 has no label"),
        (None, Visit(3, label=CLASSES), f"label {CLASSES}, the tail knows 0 to {CLASSES - 1}"),
        ([9] * RECORDINGS, Visit(3), "label 9"),
    ],
)
async def test_labels_that_are_none(labels: list[int] | None, visit: Visit, message: str) -> None:
    board = double_board(labels=labels)
    with pytest.raises(LabelError, match=message) as caught:
        await train(board, visits=[Visit(0, label=0), visit])
    assert caught.value.hint
    assert board.last_step == 0


async def test_the_hosts_label_goes_before_the_boards() -> None:
    with_board_labels, _, _ = await train(double_board())
    visits = [Visit(visit.recording, visit.recording % CLASSES) for visit in VISITS]
    with_host_labels, _, _ = await train(double_board(labels=None), visits=visits)
    assert with_host_labels.tail_crc == with_board_labels.tail_crc
    with_wrong_labels, _, _ = await train(
        double_board(), visits=[replace(visit, label=0) for visit in visits]
    )
    assert with_wrong_labels.tail_crc != with_board_labels.tail_crc


async def test_a_frozen_head() -> None:
    board = double_board(trainable=False)
    report, tail, steps = await train(board, replace(SETTINGS, update_head=False))
    assert report.weights_crc is None
    assert tail.applied == len(steps) == 7
    assert not board.bias.any()
    assert not {Kind.GRADIENT, Kind.APPLY} & board.taken.keys()
    with pytest.raises(DeviceError, match="cannot be trained") as caught:
        await train(board)
    assert "--freeze-head" in (caught.value.hint or "")


async def test_a_scale_too_narrow_is_widened() -> None:
    board = double_board(scale=0.004)
    settings = replace(SETTINGS, rescale_threshold=0.02, rescale_factor=1.5)
    _, _, steps = await train(board, settings, VISITS * 4)
    assert steps[0].saturated > 0.02 * 3 * 64
    scales = [done.scale for done in steps]
    assert scales == sorted(scales)
    assert scales[-1] == pytest.approx(board.scale)
    assert scales[-1] > 0.006
    # It stops once few outputs saturate.
    assert steps[-1].saturated <= 0.02 * 3 * 64
    assert scales[-1] == scales[-2]


async def test_a_schedule_and_a_rate_of_the_boards_own() -> None:
    still = double_board()
    await train(still, replace(SETTINGS, board_learning_rate=lambda step: 1e-30 * step))
    assert np.abs(still.bias).max() < 1e-25
    board = double_board()
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.1 / step

    await train(board, replace(SETTINGS, learning_rate=rate), VISITS[:6])
    assert sorted(set(asked)) == [1, 2]


async def test_a_tail_of_another_cut() -> None:
    async with Reach(double_board()) as reach, TailWorker() as worker:
        trainer = Trainer(await reach.device(), PlainTail(63, CLASSES), worker, SETTINGS)
        with pytest.raises(TailError, match="63 elements, the board gives 64"):
            await trainer.start()


def test_a_curriculum_visits_each_recording_once_a_pass() -> None:
    curriculum = Curriculum(25, hold_out=6, labels=list(range(16)), seed=3)
    visits = list(curriculum.visits(16))
    assert len(visits) == 25
    for start in (0, 10):
        assert sorted(visit.recording for visit in visits[start : start + 10]) == list(range(10))
    assert visits == list(curriculum.visits(16))
    assert visits[:10] != visits[10:20]
    assert all(visit.label == visit.recording for visit in visits)
    assert [visit.recording for visit in curriculum.held_out(16)] == list(range(10, 16))
    live = list(Curriculum(3).visits(0))
    assert live == [Visit(LIVE_RECORDING)] * 3


def test_a_curriculum_that_does_not_fit_the_board() -> None:
    with pytest.raises(LabelError, match="3 labels for 16 recordings"):
        Curriculum(1, labels=[0, 1, 2]).check(16)
    with pytest.raises(LabelError, match="--hold-out 16 leaves none"):
        Curriculum(1, hold_out=16).check(16)
    Curriculum(1, hold_out=15, labels=[0] * 16).check(16)
