"""Training against the real firmware, as a process of this computer."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tiny_board import RECORDINGS, TinyBoard

from cutlayer_boards.emulator import emulate
from cutlayer_boards.keys import DeviceKey, Keys
from cutlayer_boards.spec import board
from cutlayer_boards.storage import write_key
from cutlayer_converter.bundle import load_manifest
from cutlayer_host.cli import main
from cutlayer_host.codes import Section
from cutlayer_host.device import Device
from cutlayer_host.errors import BundleMismatch, DeviceError, LabelError, LinkLost
from cutlayer_host.lesson import Curriculum, Lesson
from cutlayer_host.opening import connect
from cutlayer_host.server import Failed, Finished, Reconnect, Server
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.store import Store
from cutlayer_host.tail import Tail, TailSettings
from cutlayer_host.trainer import Trainer
from cutlayer_host.transports import open_transport
from cutlayer_host.transports.faulty import CutTransport, FaultRates, FaultyTransport
from cutlayer_host.worker import TailWorker

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_host.report import Evaluation, TrainReport

NATIVE = board("native")
SETTINGS = TrainSettings(batch_size=8, learning_rate=3e-3)
VISITS = [Visit(number * 5 % RECORDINGS) for number in range(160)]
ALL = [Visit(recording) for recording in range(RECORDINGS)]


async def train_and_measure(
    device: Device, tiny: TinyBoard, settings: TrainSettings
) -> tuple[Evaluation, TrainReport, Evaluation]:
    async with TailWorker() as worker:
        tail = await worker.run(Tail.load, tiny.bundle / "tail.keras", TailSettings())
        trainer = Trainer(device, tail, worker, settings)
        await trainer.start()
        before = await trainer.evaluate(ALL)
        report = await trainer.train(VISITS)
        return before, report, await trainer.evaluate(ALL)


async def train_once(
    tiny: TinyBoard, settings: TrainSettings = SETTINGS
) -> tuple[Evaluation, TrainReport, Evaluation]:
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        return await train_and_measure(device, tiny, settings)


@pytest.fixture(scope="module")
def clean(tiny: TinyBoard) -> tuple[Evaluation, TrainReport, Evaluation]:
    return asyncio.run(train_once(tiny))


async def test_training_learns(clean: tuple[Evaluation, TrainReport, Evaluation]) -> None:
    before, report, after = clean
    assert report.samples == len(VISITS)
    assert after.loss < before.loss / 2
    assert after.accuracy > max(before.accuracy + 0.2, 0.8)


async def test_a_run_repeats_bit_for_bit(
    tiny: TinyBoard, clean: tuple[Evaluation, TrainReport, Evaluation]
) -> None:
    _, report, after = await train_once(tiny)
    assert (report.weights_crc, report.tail_crc) == (clean[1].weights_crc, clean[1].tail_crc)
    assert after.loss == clean[2].loss


async def test_another_seed_gives_other_weights(
    tiny: TinyBoard, clean: tuple[Evaluation, TrainReport, Evaluation]
) -> None:
    _, report, _ = await train_once(tiny, replace(SETTINGS, seed=1))
    assert report.weights_crc != clean[1].weights_crc


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_bad_link_changes_nothing(
    tiny: TinyBoard, clean: tuple[Evaluation, TrainReport, Evaluation], seed: int
) -> None:
    async with emulate(NATIVE, tiny.firmware, tiny.microphone) as node:
        transport = FaultyTransport(await open_transport(node.url), FaultRates(0.005, 0.005, seed))
        device = await Device.open(transport, key=node.key)
        try:
            _, report, _ = await train_and_measure(device, tiny, SETTINGS)
        finally:
            await device.close()
    assert transport.counts.lost > 2
    assert transport.counts.corrupted > 2
    assert (report.weights_crc, report.tail_crc) == (clean[1].weights_crc, clean[1].tail_crc)


@pytest.mark.parametrize(("activations", "gradients"), [(1, 1), (16, 0), (17, 1)])
async def test_smaller_codecs_learn_too(tiny: TinyBoard, activations: int, gradients: int) -> None:
    settings = replace(SETTINGS, activation_codec=activations, gradient_codec=gradients)
    before, _, after = await train_once(tiny, settings)
    assert after.loss < before.loss / 2


async def test_a_frozen_head_stays_as_it_was(tiny: TinyBoard) -> None:
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        before = await device.read(Section.MASTER)
        measured, report, after = await train_and_measure(device, tiny, replace(SETTINGS, update_head=False))
        assert await device.read(Section.MASTER) == before
        assert (await device.stats())["steps_applied"] == 0
    assert report.weights_crc is None
    assert after.loss < measured.loss


@pytest.mark.parametrize("cuts", [(20_000, 31_000), (4_321, 1_234, 17_777), (9_000, 9_030, 9_060, 9_090)])
async def test_a_lost_connection_is_taken_up_again(
    tiny: TinyBoard, clean: tuple[Evaluation, TrainReport, Evaluation], cuts: tuple[int, ...]
) -> None:
    """The pipe breaks amid steps; the board's process lives on."""
    left = iter(cuts)
    opened = 0

    async def reconnect() -> Device:
        nonlocal opened
        opened += 1
        pipe = CutTransport(await open_transport(node.url), next(left, 1 << 30))
        return await Device.open(pipe, key=node.key)

    async with emulate(NATIVE, tiny.firmware, tiny.microphone) as node, TailWorker() as worker:
        tail = await worker.run(Tail.load, tiny.bundle / "tail.keras", TailSettings())
        trainer = Trainer(await reconnect(), tail, worker, SETTINGS, reconnect=reconnect)
        await trainer.start()
        report = await trainer.train(VISITS)
        await trainer.device.close()
    assert opened == len(cuts) + 1
    assert (report.weights_crc, report.tail_crc) == (clean[1].weights_crc, clean[1].tail_crc)


async def test_several_boards_at_once(tiny: TinyBoard, tmp_path: Path) -> None:
    manifest = load_manifest(tiny.bundle)
    curriculum = Curriculum(64, hold_out=8)

    def lesson(device: Device, worker: TailWorker, reconnect: Reconnect) -> Lesson:
        return Lesson(device, tiny.bundle, manifest, worker, curriculum, SETTINGS, TailSettings(), reconnect)

    events = []

    async def tell(event: object) -> None:
        events.append(event)

    store = Store(tmp_path)
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as one,
        emulate(NATIVE, tiny.firmware, tiny.microphone) as two,
        emulate(NATIVE, tiny.firmware, tiny.microphone) as three,
    ):
        keys = {node.device.device_id: node.device.secret for node in (one, two, three)}
        server = Server(
            lesson, lambda device: store.begin(device.welcome, device.url, tiny.bundle, {}), key=keys.get
        )
        await server.serve(tell, [one.url, two.url, three.url, "unix:///nowhere"])
    results = [event.result for event in events if isinstance(event, Finished)]
    assert len(results) == 3
    assert len({(result["weights_crc"], result["tail_crc"]) for result in results}) == 1
    assert [event.url for event in events if isinstance(event, Failed)] == ["unix:///nowhere"]
    assert [(run.state, run.steps, run.checkpoint) for run in store.runs()] == [("finished", 8, 8)] * 3


async def test_a_board_that_dies_is_a_lost_link(tiny: TinyBoard) -> None:
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        connect(node.url, key=node.key) as device,
        TailWorker() as worker,
    ):
        tail = await worker.run(Tail.load, tiny.bundle / "tail.keras", TailSettings())
        trainer = Trainer(device, tail, worker, SETTINGS)
        await trainer.start()
        before = tail.weights_crc()

        with pytest.raises(LinkLost, match="unix:") as caught:
            await trainer.train(VISITS, on_step=lambda _: node.process.kill())
        assert caught.value.hint
        assert await worker.run(tail.weights_crc) != before
        assert trainer.last_step == 1


async def test_the_wrong_bundle_is_refused(tiny: TinyBoard, tmp_path: Path) -> None:
    text = (tiny.bundle / "manifest.json").read_text()
    running = load_manifest(tiny.bundle).model_id
    (tmp_path / "manifest.json").write_text(text.replace(running, "ab" * 32))
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        manifest = load_manifest(tmp_path)
        with pytest.raises(BundleMismatch, match=f"{running[:12]}.*abababababab"):
            device.require_model(manifest.model_id, tmp_path)


async def test_what_a_board_refuses_is_said(tiny: TinyBoard) -> None:
    async with (
        emulate(NATIVE, tiny.firmware, tiny.microphone) as node,
        connect(node.url, key=node.key) as device,
        TailWorker() as worker,
    ):
        tail = await worker.run(Tail.load, tiny.bundle / "tail.keras", TailSettings())
        trainer = Trainer(device, tail, worker, SETTINGS)
        await trainer.start()
        with pytest.raises(DeviceError, match="refused SAMPLE: SENSOR"):
            await trainer.train([Visit(RECORDINGS)])
        with pytest.raises(LabelError, match="label 9"):
            await trainer.train([Visit(0), Visit(1, label=9)])
        # The step that failed has left nothing behind, on neither side.
        report = await trainer.train(VISITS[:8])
        assert report.steps == 1


def test_the_command_trains_and_prints_json(
    tiny: TinyBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(tiny.firmware.path), "--listen", f"unix:{tmp_path}/link"]
    command += ["--microphone", str(tiny.microphone), "--storage", str(tmp_path / "storage")]
    device = DeviceKey.fresh()
    write_key(tmp_path / "storage", device)
    Keys.default().add(device)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        url = json.loads(process.stdout.readline())["url"]
        try:
            arguments = ["train", "--device", url, "--bundle", str(tiny.bundle), "--samples", "64"]
            code = main([*arguments, "--hold-out", "16", "--store", str(tmp_path / "runs"), "--json"])
            assert code == 0
            result = json.loads(capsys.readouterr().out)
            assert main(["devices", url, "--json"]) == 0
            (found,) = json.loads(capsys.readouterr().out)["devices"]
            wrong = tmp_path / "wrong"
            wrong.write_bytes(bytes(3))
            assert main([*arguments, "--labels", str(wrong)]) == 1
            assert "3 labels for 96 recordings" in capsys.readouterr().err
        finally:
            process.terminate()
    assert result["samples"] == 64
    assert result["held_out"]["samples"] == 16
    assert found["last_step"] == result["steps"] == 8
    assert main(["runs", "--store", str(tmp_path / "runs"), "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["result"] == result
    assert (run["number"], run["state"], run["steps"]) == (result["run"], "finished", 8)


def test_a_board_that_is_not_served_is_told_and_counts(
    tiny: TinyBoard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--device", "unix:///nowhere", "--bundle", str(tiny.bundle), "--json"]) == 1
    printed = capsys.readouterr()
    (board,) = json.loads(printed.out)["boards"]
    assert "cannot connect" in board["error"]
    assert "unix:///nowhere: error: cannot connect" in printed.err
    assert "error: 1 of 1 boards were not trained: unix:///nowhere" in printed.err
