"""The demo in small: every part of it, with the real firmware on both boards, but no accuracy to speak of."""

from __future__ import annotations

import json
import subprocess
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
from cutlayer_kws.ram import split_ram
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


@pytest.mark.qemu
@pytest.mark.slow
def test_parts_of_the_ram_are_what_the_linker_gave_out(
    small: DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "ram", "--json"]) == 0
    found = {
        (one["optimizer"], one["master"]): one for one in json.loads(capsys.readouterr().out)["firmwares"]
    }
    for one in found.values():
        command = ["arm-none-eabi-size", "-A", one["firmware"]]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        sizes = {line.split()[0]: int(line.split()[1]) for line in said.splitlines() if line.startswith(".")}
        in_ram = sizes[".stack"] + sizes[".data"] + sizes[".bss"]
        assert sum(one["parts"].values()) == one["ram_bytes"] == in_ram
        assert 0 <= one["parts"]["rest"] < 512
        assert all(size > 0 for size in one["parts"].values())
        assert 512 < one["stack_used_bytes"] < one["parts"]["stack"]
    # The trained network takes as much.
    [seed] = small.seeds
    assert seed.emulated is not None
    trained = split_ram(seed.emulated.firmware, seed.prepared.manifest)
    assert found["adam", "float32"]["parts"] == trained
    # 48 x 64 weights and 64 biases: master weights and two moments in half the bytes; one moment less.
    parameters = 48 * 64 + 64
    ram_bytes = {keeping: one["ram_bytes"] for keeping, one in found.items()}
    assert ram_bytes["adam", "float32"] - ram_bytes["adam", "bfloat16"] == 3 * 2 * parameters
    assert ram_bytes["adam", "bfloat16"] - ram_bytes["sgd", "bfloat16"] == 2 * parameters


@pytest.mark.qemu
@pytest.mark.slow
def test_a_memory_table_that_is_not_the_nodes_is_an_error(small: DemoResult) -> None:
    [seed] = small.seeds
    assert seed.emulated is not None
    manifest = seed.prepared.manifest
    lines = [
        line if line.name != "arena" else replace(line, bytes=line.bytes + 96) for line in manifest.memory
    ]
    with pytest.raises(DemoError, match="node_memory has"):
        split_ram(seed.emulated.firmware, replace(manifest, memory=tuple(lines)))


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
