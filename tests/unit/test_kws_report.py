"""The report: the names that others read, their units, and the picture."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cutlayer_boards.build import Firmware
from cutlayer_host.cli import main
from cutlayer_kws.budget import Budget
from cutlayer_kws.demo import DemoResult, DemoSettings, Emulated, SeedResult
from cutlayer_kws.lesson import LessonResult
from cutlayer_kws.plot import draw
from cutlayer_kws.report import make_report, make_table, write_report

NAMES = {
    "accuracy": {"frozen", "split", "central"},
    "seeds": None,
    "ram_bytes": None,
    "flash_bytes": None,
    "wire_bytes": {"up", "down"},
    "instructions": {"head", "update", "features"},
    "steps_per_second": {"native", "qemu"},
    "bit_exact_native_qemu": None,
    "seconds": None,
    "details": None,
}
STATS = {
    "frames_sent_again": 0,
    "sensor_ticks": 1600,
    "head_ticks": 800,
    "accumulate_ticks": 160,
    "apply_ticks": 1280,
    "stack_bytes": 1500,
    "memory_bytes": 75_000,
}


def lesson(accuracy: float) -> LessonResult:
    return LessonResult(
        accuracy=accuracy,
        confusion=[[1, 0], [0, 1]],
        correct=[0.5] * 10,
        weights_crc=list(range(10)),
        weights={"weights": b"\1\2"},
        tail_crc=5,
        samples=80,
        steps=10,
        seconds=2.0,
        tensorflow_seconds=1.0,
        stats=STATS,
        wire_bytes={"up": 40_000, "down": 30_000},
    )


def seed_result(frozen: float, split: float, emulated: Emulated | None) -> SeedResult:
    manifest = SimpleNamespace(model_id="ab" * 32, smashed=SimpleNamespace(count=8320, shape=(13, 10, 64)))
    return SeedResult(
        prepared=SimpleNamespace(words=5, accuracy=0.9, manifest=manifest),  # type: ignore[arg-type]
        frozen=lesson(frozen),
        split=lesson(split),
        central=SimpleNamespace(correct=[0.6] * 10, float_accuracy=0.9),  # type: ignore[arg-type]
        central_measured=lesson(0.9),
        simulated_accuracy=0.83,
        emulated=emulated,
    )


def emulated(**qemu: object) -> Emulated:
    firmware = Firmware(Path("firmware.elf"), 94_000, 47_000, {".stack": 8192, ".text": 29_000})
    return Emulated(firmware, replace(lesson(0.5), **qemu), lesson(0.5), lesson(0.5))  # type: ignore[arg-type]


def result(*seeds: SeedResult) -> DemoResult:
    corpus = SimpleNamespace(
        words=("yes", "no"), train_count=3, count=5, speakers=("a", "b", "a", "c", "c"), labels=np.zeros(5)
    )
    settings = DemoSettings(budget=Budget(visits=80, batch_size=8))
    return DemoResult(settings, corpus, seeds, 12.34)  # type: ignore[arg-type]


@pytest.fixture
def whole() -> DemoResult:
    return result(seed_result(0.7, 0.8, emulated()), seed_result(0.72, 0.81, None))


def test_the_report_has_the_names_of_the_issue(whole: DemoResult) -> None:
    report = make_report(whole)
    assert set(report) == set(NAMES)
    for name, parts in NAMES.items():
        if parts is not None:
            assert set(report[name]) == parts


def test_figures_are_means_and_have_their_units(whole: DemoResult) -> None:
    report = make_report(whole)
    assert report["accuracy"] == {"frozen": 0.71, "split": 0.805, "central": 0.9}
    assert report["seeds"] == 2
    assert report["wire_bytes"] == {"up": 4000.0, "down": 3000.0}  # a step
    assert report["steps_per_second"] == {"native": 5.0, "qemu": 5.0}
    # A tick of the emulated board's clock is 0.625 instructions.
    assert report["instructions"] == {"head": 500, "features": 1000, "update": (160 + 1280 / 8) * 0.625}
    assert (report["ram_bytes"], report["flash_bytes"]) == (94_000, 47_000)
    details = report["details"]
    assert details["split_over_frozen"] == pytest.approx(0.095)
    assert details["wire_bytes_float32"] == 2 * 4 * 8 * 8320
    assert details["wire_share_of_float32"] == pytest.approx(7000 / 532_480, abs=1e-4)
    assert details["corpus"] == {"train": 3, "test": 2, "train_voices": 2, "test_voices": 1}


@pytest.mark.parametrize(
    "differs",
    [
        {"weights": {"weights": b"\1\3"}},
        {"weights_crc": [*range(9), 77]},
        {"tail_crc": 6},
        {"samples": 79},
    ],
)
def test_a_difference_between_native_and_qemu_shows(differs: dict[str, object]) -> None:
    assert emulated().bit_exact
    assert make_report(result(seed_result(0.7, 0.8, emulated())))["bit_exact_native_qemu"] is True
    assert make_report(result(seed_result(0.7, 0.8, emulated(**differs))))["bit_exact_native_qemu"] is False


def test_without_an_emulated_board_its_figures_are_null() -> None:
    report = make_report(result(seed_result(0.7, 0.8, None)))
    for name in ("ram_bytes", "flash_bytes", "instructions", "bit_exact_native_qemu"):
        assert report[name] is None
    assert report["steps_per_second"]["qemu"] is None
    assert make_table(report).row_count > 5


def test_the_table_shows_what_people_ask_for(whole: DemoResult) -> None:
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(make_table(make_report(whole)))
    text = console.export_text()
    for shown in ("80.5%", "+9.5 points", "1/76.3", "94,000", "every weight, every step"):
        assert shown in text


def test_a_report_is_written_whole(whole: DemoResult, tmp_path: Path) -> None:
    report = make_report(whole)
    write_report(report, tmp_path / "demo" / "report.json")
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["report.json"]
    read = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert read["accuracy"] == report["accuracy"]


def test_the_picture_is_drawn(whole: DemoResult, tmp_path: Path) -> None:
    draw(whole, make_report(whole), tmp_path / "demo" / "report.png")
    data = (tmp_path / "demo" / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert width > height > 400


def test_the_bench_prints_the_demos_report_of_three_seeds(
    whole: DemoResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[DemoSettings] = []

    def run_demo(settings: DemoSettings, _bars: object) -> DemoResult:
        asked.append(settings)
        return whole

    monkeypatch.setattr("cutlayer_kws.demo.run_demo", run_demo)
    assert main(["bench", "kws", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == make_report(whole)["accuracy"]
    assert asked == [DemoSettings(seeds=3)]
