"""The demo in small: every part of it, with the real firmware on both boards, but no accuracy to speak of."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.progress import Progress

from cutlayer_boards.build import build_firmware
from cutlayer_boards.spec import board
from cutlayer_host.cli import main
from cutlayer_host.transports.faulty import FaultRates
from cutlayer_kws.bench_faults import make_figures, measure
from cutlayer_kws.budget import Budget
from cutlayer_kws.crew import Crew
from cutlayer_kws.demo import DemoResult, DemoSettings, plan_lesson, run_demo
from cutlayer_kws.errors import DemoError
from cutlayer_kws.lesson import run_lesson
from cutlayer_kws.model import Pretraining
from cutlayer_kws.report import make_report
from cutlayer_kws.speech import SpeechPlan

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = Budget(visits=44, batch_size=8)
TEST_COUNT = 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    settings = DemoSettings(
        build=tmp_path_factory.mktemp("kws"),
        budget=BUDGET,
        pretraining=Pretraining(recordings=32, epochs=1),
        speech=SpeechPlan(train_count=80, test_count=TEST_COUNT),
        emulated_visits=20,
        counted_visits=8,
    )
    return run_demo(settings, Progress(disable=True))


@pytest.mark.qemu
@pytest.mark.slow
def test_both_boards_learn_the_same_bits(small: DemoResult) -> None:
    emulated = small.seeds[0].emulated
    assert emulated is not None
    assert emulated.bit_exact
    assert (emulated.qemu.samples, emulated.qemu.steps) == (20, 3)
    assert len(emulated.qemu.weights["master"]) == 4 * (48 * 64 + 64)
    assert len(set(emulated.qemu.weights_crc)) == 3


@pytest.mark.qemu
@pytest.mark.slow
def test_runs_get_the_same_budget_and_differ_in_the_head(small: DemoResult) -> None:
    [seed] = small.seeds
    for run in (seed.split, seed.frozen):
        assert (run.samples, run.steps, len(run.correct)) == (BUDGET.visits, BUDGET.steps, BUDGET.steps)
        assert sum(map(sum, run.confusion)) == TEST_COUNT
    assert seed.split.stats["steps_applied"] == BUDGET.steps
    assert seed.frozen.stats["steps_applied"] == 0
    assert seed.split.weights["weights"] != seed.frozen.weights["weights"]
    assert seed.split.tail_crc != seed.frozen.tail_crc
    assert len(seed.central.correct) == BUDGET.steps
    assert sum(map(sum, seed.central_measured.confusion)) == TEST_COUNT


@pytest.mark.qemu
@pytest.mark.slow
def test_the_board_names_centrally_trained_words_as_the_float_network_does(small: DemoResult) -> None:
    [seed] = small.seeds
    assert seed.central_measured.accuracy == pytest.approx(seed.central.float_accuracy, abs=3 / TEST_COUNT)


@pytest.mark.qemu
@pytest.mark.slow
def test_figures_keep_to_their_limits(small: DemoResult) -> None:
    report = make_report(small)
    assert 64_000 < report["ram_bytes"] <= 128 * 1024
    assert report["details"]["stack_used_bytes"] <= report["details"]["stack_bytes"]
    assert 0 < report["details"]["wire_share_of_float32"] <= 1 / 6
    assert all(count > 100_000 for count in report["instructions"].values())
    assert json.loads(json.dumps(report))["bit_exact_native_qemu"] is True


@pytest.mark.qemu
@pytest.mark.slow
def test_a_link_with_faults_teaches_the_same_bits(small: DemoResult) -> None:
    [seed] = small.seeds
    firmware = build_firmware(board("native"), seed.prepared.bundle, small.settings.build)
    plan = replace(plan_lesson(small.settings, small.corpus, seed.prepared, firmware, 0), test=())
    clean, [faulty] = measure(plan, [FaultRates(0.02, 0.02, seed=1)], Progress(disable=True))
    figures = make_figures(clean, [faulty])
    assert figures["same_weights"] is True
    assert clean.learned == seed.split.learned
    [run] = figures["faulty"]
    assert run["faults"]["lost"] > 3
    assert run["faults"]["corrupted"] > 3
    assert sum(run["frames_sent_again"].values()) > 3
    assert run["steps"] == figures["clean"]["steps"] == BUDGET.steps
    assert figures["clean"]["faults"]["lost"] == figures["clean"]["faults"]["corrupted"] == 0
    assert figures["wire_bytes_ratio"] > 1


@pytest.mark.qemu
@pytest.mark.slow
def test_an_stm32f405_learns_the_same_bits_in_128_kb(small: DemoResult) -> None:
    [seed] = small.seeds
    assert seed.emulated is not None
    stm32 = board("netduinoplus2")
    firmware = build_firmware(stm32, seed.prepared.bundle, small.settings.build)
    assert firmware.ram_bytes_static <= stm32.ram_bytes == 128 * 1024
    plan = plan_lesson(small.settings, small.corpus, seed.prepared, firmware, 0)
    visits = plan.visits[: small.settings.emulated_visits]
    plan = replace(plan, board=stm32.name, visits=visits, test=())
    with Crew(Progress(disable=True)) as crew:
        [found] = crew.gather(crew.start("STM32F405", run_lesson, plan))
    assert found.learned == seed.emulated.native.learned


def fail(_: object) -> None:
    raise DemoError("it went wrong", "do better")


def test_an_error_in_a_worker_is_the_commands_error() -> None:
    with pytest.raises(DemoError, match="it went wrong") as caught, Crew(Progress(disable=True)) as crew:
        crew.gather(crew.start("job", fail))
    assert caught.value.hint == "do better"


def test_a_folder_without_speech_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["demo", "kws", "--speech-commands", str(tmp_path), "--out", str(tmp_path / "build")]
    assert main(arguments) == 1
    assert "has no recordings of yes, no" in capfd.readouterr().err.replace("\n", " ")
