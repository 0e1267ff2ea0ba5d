"""The trainer against the double: what both sides learn, from which labels, at which rate and scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from double_board import CLASSES, RECORDINGS, Reach, double_board
from plain_tail import PlainTail
from short_training import SETTINGS, VISITS, train

from cutlayer_host.codes import Kind
from cutlayer_host.errors import DeviceError, LabelError, NumberError, TailError
from cutlayer_host.settings import Visit
from cutlayer_host.trainer import Trainer
from cutlayer_host.worker import TailWorker

ALL = [Visit(recording) for recording in range(RECORDINGS)]


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
