"""Interruptions of a training: a step happens on both sides or on neither, whatever breaks."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pytest
from double_board import CLASSES, Reach, double_board
from plain_tail import PlainTail
from short_training import SETTINGS, VISITS, train

from cutlayer_host.checkpoint import Checkpoint, MemoryLedger
from cutlayer_host.codes import Kind
from cutlayer_host.errors import DeviceFault, LinkLost
from cutlayer_host.trainer import Trainer
from cutlayer_host.transports.faulty import CutTransport
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from cutlayer_host.device import Device
    from cutlayer_host.double import BoardDouble
    from cutlayer_host.report import TrainReport


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
