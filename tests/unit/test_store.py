"""The host's storage: what a crash leaves behind, and what it does not."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cutlayer_host import durable
from cutlayer_host.board_messages import Welcome
from cutlayer_host.checkpoint import Checkpoint
from cutlayer_host.durable import write_json
from cutlayer_host.errors import StoreError
from cutlayer_host.report import StepDone
from cutlayer_host.store import Store

if TYPE_CHECKING:
    from cutlayer_host.run import Run

BUNDLE = Path("bundle")


def welcome(**options: Any) -> Welcome:
    return Welcome(smashed_count=1, output_scale=1.0, output_zero_point=0, board="native", **options)


def begin(store: Store, **asked: Any) -> Run:
    return store.begin(welcome(), "tcp://board", BUNDLE, asked)


def done(step: int) -> StepDone:
    return StepDone(step, 2, 1.0 / step, step % 3, 7 * step, 0, 0.5, 0, visited=2 * step)


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"weights/0": np.full((2, 3), step, np.float32)}, 7 * step)


def test_a_run_from_beginning_to_end(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    with begin(store, samples=6) as run:
        assert store.run(run.number).state == "running"
        for step in (1, 2, 3):
            run.record(done(step))
        run.keep(checkpoint(3))
        run.measure(3, {"held_out/accuracy": 0.75})
        run.finish({"loss": 0.5})
    summary = Store(tmp_path / "runs").run()
    assert (summary.number, summary.state, summary.steps, summary.checkpoint) == (1, "finished", 3, 3)
    assert (summary.asked, summary.result) == ({"samples": 6}, {"loss": 0.5})
    assert summary.loss == pytest.approx(1 / 3)
    again = store.load(1, 3)
    assert again.weights_crc == 21
    assert again.arrays["weights/0"].tolist() == [[3.0] * 3] * 2
    with pytest.raises(StoreError, match="run 1 has finished") as caught:
        store.resume(1)
    assert caught.value.hint


def test_what_was_recorded_since_the_last_checkpoint_goes_with_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = begin(store)
    run.record(done(1))
    run.keep(checkpoint(1))
    run.record(done(2))
    run.close()
    with store.resume() as again:
        assert [step.step for step in again.history()] == again.steps() == [1]
        again.record(done(2))
        again.keep(checkpoint(2))
    with store.resume(1) as once_more:
        assert once_more.history() == [done(1), done(2)]


def test_going_back_drops_what_came_after(tmp_path: Path) -> None:
    with begin(Store(tmp_path)) as run:
        for step in (1, 2, 3, 4):
            run.record(done(step))
            if step < 4:
                run.keep(checkpoint(step))
        run.go_back(2)
        assert run.steps() == [1, 2]
        run.record(done(3))
        run.keep(checkpoint(3))
        assert [step.step for step in run.history()] == [1, 2, 3]
    assert not list(tmp_path.glob("checkpoints/*partial*"))


def test_the_checkpoints_stay_that_the_board_may_still_hold(tmp_path: Path) -> None:
    with begin(Store(tmp_path)) as run:
        run.keep(checkpoint(0))
        for step in (10, 20, 30, 40):
            run.keep(checkpoint(step))
            if step != 30:  # this answer was lost: the board may hold 30, or 10 still
                run.saved(step)
        # At 20 the board's other slot held 10, at 40 it holds 20 or 30.
        assert run.steps() == [0, 20, 30, 40]
        files = sorted(path.name for path in tmp_path.glob("checkpoints/*.npz"))
        assert files == [f"1-{step}.npz" for step in (0, 20, 30, 40)]


def test_two_processes_do_not_go_on_with_one_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with begin(store), pytest.raises(StoreError, match="another process goes on with run 1"):
        store.resume(1)
    store.resume(1).close()


def test_each_device_has_a_last_run_of_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for url in ("tcp://a", "tcp://b"):
        store.begin(welcome(), url, BUNDLE, {}).close()
    with store.resume(device="tcp://a") as run:
        assert run.number == 1
    with pytest.raises(StoreError, match="not a run of tcp://c"):
        store.resume(device="tcp://c")
    with pytest.raises(StoreError, match="not run 9"):
        store.resume(9)


def _keep_until_killed(folder: Path, ready: Any) -> None:
    with Store(folder).resume(1) as run:
        ready.set()
        step = run.steps()[-1]
        while True:
            step += 1
            run.record(done(step))
            run.keep(checkpoint(step))
            run.saved(step)


def test_a_process_killed_at_any_moment_leaves_a_store_to_go_on_from(tmp_path: Path) -> None:
    with begin(Store(tmp_path)) as run:
        run.keep(checkpoint(0))
    context = multiprocessing.get_context("spawn")
    steps = [0]
    for delay_s in (0.0, 0.003, 0.011, 0.042):
        ready = context.Event()
        process = context.Process(target=_keep_until_killed, args=(tmp_path, ready))
        process.start()
        assert ready.wait(60)
        process.join(delay_s)
        process.kill()
        process.join()
        with Store(tmp_path).resume(1) as again:
            kept = again.steps()
            for step in kept:
                assert again.load(step).weights_crc == 7 * step
            assert [step.step for step in again.history()] == list(range(1, kept[-1] + 1))
            steps.append(kept[-1])
    assert steps == sorted(steps)
    assert steps[-1] > 0


def test_a_full_disk_leaves_the_checkpoints_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with begin(Store(tmp_path)) as run:
        run.keep(checkpoint(1))
        with monkeypatch.context() as patch:
            patch.setattr(durable.os, "fsync", full)
            with pytest.raises(StoreError, match="No space left on device") as caught:
                run.keep(checkpoint(2))
        assert "make room" in (caught.value.hint or "")
        assert run.steps() == [1]
        assert run.load(1).step == 1
        assert not list(tmp_path.glob("checkpoints/.*partial"))
        run.keep(checkpoint(2))
        assert run.steps() == [1, 2]


def test_a_damaged_checkpoint_or_database_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with begin(store) as run:
        run.keep(checkpoint(1))
        path = tmp_path / "checkpoints" / "1-1.npz"
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"1-1\.npz: damaged"):
            run.load(1)
        path.unlink()
        with pytest.raises(StoreError, match=r"1-1\.npz"):
            run.load(1)
        with pytest.raises(StoreError, match="no checkpoint of step 5"):
            run.load(5)
    for damage in (b"not a database at all" * 300, None):
        database = tmp_path / "cutlayer.sqlite3"
        for extra in tmp_path.glob("cutlayer.sqlite3-*"):
            extra.unlink()
        if damage is not None:
            whole = database.read_bytes()
            database.write_bytes(damage)
        else:  # a page in the middle
            page = bytes(whole[:8192]) + np.random.default_rng(0).bytes(4096) + bytes(whole[12288:])
            database.write_bytes(page)
        with pytest.raises(StoreError) as caught:
            Store(tmp_path)
        assert caught.value.hint


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path)
    with sqlite3.connect(tmp_path / "cutlayer.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="version 99") as caught:
        Store(tmp_path)
    assert "--store" in (caught.value.hint or "")


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"thesis\.txt"):
        Store(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
