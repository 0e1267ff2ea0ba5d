"""`cutlayer bench all`: what it keeps, what it says of the figures, and that failures do not stop it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cutlayer_host import figures
from cutlayer_host.cli import main
from cutlayer_host.commands import bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def head(instructions: float, dense: float, kws: int, other: float) -> dict[str, Any]:
    parts = ("arena_bytes_of_tflm", "flash_bytes_without_weights_of_tflm")
    plain_c = {"long-multiply": {"instructions_of_tflm": other}, "portable": {"instructions_of_tflm": 9.0}}
    rest: dict[str, Any] = {**dict.fromkeys(parts, other), "plain_c": plain_c}
    convolutional = {"instructions": kws, "instructions_of_tflm": instructions, **rest}
    # The arena of the fully connected model is not asked for.
    connected = {"instructions": 1, "instructions_of_tflm": dense, **rest, "arena_bytes_of_tflm": 0.8}
    heads = {name: convolutional | {"arena_bytes_of_tflm": other - 0.15} for name in figures.DEEPER_HEADS}
    return {"models": {"kws": convolutional, "ad": connected, **heads}}


def update(a_mac: float, a_weight: float) -> dict[str, Any]:
    row = {"layer": "pointwise", "optimizer": "sgd", "master": "float32"}
    counts = {"accumulate_instructions_a_mac": a_mac, "apply_instructions_a_weight": a_weight}
    others = {"accumulate_instructions_a_mac": 2.0, "apply_instructions_a_weight": 99.0}
    return {"updates": [row | {"optimizer": "adam"} | others, row | counts]}


def link(up: float, down: float, kept: float) -> dict[str, Any]:
    def connection(more: float) -> dict[str, Any]:
        ways = {"up": {"fraction": up + more}, "down": {"fraction": down + more}}
        return {**ways, "bad_line": {"kept": kept + more}}

    return {**connection(0.02), "sealed": connection(0.0)}


def keepings(float32: dict[str, float], bfloat16: dict[str, float]) -> list[dict[str, Any]]:
    other = dict.fromkeys(float32, 1e9)
    return [
        {"optimizer": optimizer, "master": master, **(values if optimizer == "adam" else other)}
        for optimizer in ("sgd", "adam")
        for master, values in (("float32", float32), ("bfloat16", bfloat16))
    ]


def ram(float32: int, bfloat16: int) -> dict[str, Any]:
    return {"firmwares": keepings({"ram_bytes": float32}, {"ram_bytes": bfloat16})}


def master(points_lost: float) -> dict[str, Any]:
    return {"keepings": keepings({"points_lost": 0.0}, {"points_lost": points_lost})}


GOOD: dict[str, dict[str, Any]] = {
    "kws": {
        "accuracy": {"frozen": 0.70, "split": 0.76, "central": 0.9},
        "ram_bytes": 100_000,
        "details": {"float_simulation": 0.765, "wire_share_of_float32": 0.125},
    },
    "ram": ram(81_920, 57_344),
    "master": master(0.5),
    "link": link(0.96, 0.93, 0.5),
    "serve": {"boards": 64, "lost": 0, "mismatched_bytes": 0},
    "seal": {
        "seal_instructions_a_byte": 43.5,
        "open_instructions_a_byte": 40.4,
        "handshake_instructions": 27_513,
    },
    "faults": {"same_weights": True},
    "frames": {"as_predicted": True, "sealed": {"opened": 0}},
    "host": {"host_median_ms": 0.8},
    "ble": {"goodput": [{"fraction": 0.98}, {"fraction": 0.91}]},
    "head": head(0.42, 0.5, 2_815_268, 0.2),
    "update": update(1.2, 40.0),
    "bytes": {"inputs": 1000, "differing": 0},
    "size": {"core_bytes": 16_384},
}
BAD: dict[str, dict[str, Any]] = {
    "kws": {
        "accuracy": {"frozen": 0.73, "split": 0.76, "central": 0.9},
        "ram_bytes": 131_073,
        "details": {"float_simulation": 0.79, "wire_share_of_float32": 0.17},
    },
    "ram": ram(81_921, 57_345),
    "master": master(0.51),
    "link": link(0.89, 0.88, 0.49),
    "serve": {"boards": 64, "lost": 1, "mismatched_bytes": 0},
    "seal": {
        "seal_instructions_a_byte": 43.5,
        "open_instructions_a_byte": 60.4,
        "handshake_instructions": 5_000_001,
    },
    "faults": {"same_weights": False},
    "frames": {"as_predicted": True, "sealed": {"opened": 1}},
    "host": {"host_median_ms": 2.1},
    "ble": {"goodput": [{"fraction": 0.98}, {"fraction": 0.89}]},
    "head": head(0.51, 0.66, 3_800_001, 0.66),
    "update": update(1.51, 50.1),
    "bytes": {"inputs": 1000, "differing": 1},
    "size": {"core_bytes": 16_385},
}


def pretend(monkeypatch: pytest.MonkeyPatch, printed: dict[str, tuple[int, bytes]]) -> None:
    def output(command: Sequence[str]) -> tuple[int, bytes]:
        assert command[-1] == "--json"
        return printed[command[-2]]

    monkeypatch.setattr(bench, "_output", output)


def as_printed(values: dict[str, dict[str, Any]]) -> dict[str, tuple[int, bytes]]:
    return {name: (0, json.dumps(value).encode()) for name, value in values.items()}


def run(out: Path, *names: str) -> int:
    return main(["bench", "all", "--only", ",".join(names or GOOD), "--out", str(out), "--json"])


@pytest.mark.parametrize(("values", "reached"), [(GOOD, True), (BAD, False)])
def test_every_figure_is_held_against_what_is_asked(
    values: dict[str, dict[str, Any]],
    reached: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretend(monkeypatch, as_printed(values))
    assert run(tmp_path) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert [row["reached"] for row in summary["figures"]] == [reached] * len(figures.FIGURES)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["summary.json", *(f"{name}.json" for name in GOOD)]
    )
    assert json.loads((tmp_path / "kws.json").read_text()) == values["kws"]
    assert ("reached" if reached else "missed") in printed.err


def test_a_bench_that_fails_is_named_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = as_printed(GOOD) | {"link": (1, b""), "faults": (0, b"no JSON")}
    pretend(monkeypatch, printed)
    (tmp_path / "link.json").write_text(json.dumps(GOOD["link"]))  # of another day
    assert run(tmp_path) == 1
    error = capsys.readouterr().err
    assert f"error: 2 of {len(GOOD)} benches failed: link, faults" in error
    assert "cutlayer bench link" in error
    assert not (tmp_path / "link.json").exists()
    summary = json.loads((tmp_path / "summary.json").read_text())
    states = {name: one["state"] for name, one in summary["benches"].items()}
    assert states == {name: "failed" if name in ("link", "faults") else "ok" for name in GOOD}
    by_file = {row["file"]: (row["measured"], row["reached"]) for row in summary["figures"]}
    assert by_file[str(tmp_path / "link.json")] == (None, None)
    assert by_file[str(tmp_path / "host.json")] == (0.8, True)


def test_json_that_lacks_a_figure_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, {"host": (0, b'{"other": 1}')})
    assert run(tmp_path, "host") == 1
    assert "host.json: the figure \"host's time of a step" in capsys.readouterr().err


def test_a_bench_that_cannot_measure_here_says_why_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, as_printed({"bytes": {"skipped": "there is no model"}}))
    assert run(tmp_path, "bytes") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["benches"]["bytes"]["state"] == "skipped: there is no model"
    assert [(row["shown"], row["reached"]) for row in summary["figures"]] == [
        ("skipped: there is no model", None)
    ]
    assert not (tmp_path / "bytes.json").exists()


def test_bytes_of_too_few_inputs_do_not_reach_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, as_printed({"bytes": {"inputs": 999, "differing": 0}}))
    assert run(tmp_path, "bytes") == 0
    assert json.loads(capsys.readouterr().out)["figures"][0]["reached"] is False


def test_unknown_benches_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", "host", "nonsense") == 1
    error = capsys.readouterr().err
    assert "no bench nonsense" in error
    assert "next: there are " in error
    assert "host, kws, link, master" in error
    assert not (tmp_path / "out").exists()


def test_a_real_bench_leaves_its_json(tmp_path: Path) -> None:
    assert run(tmp_path, "host") == 0
    assert json.loads((tmp_path / "host.json").read_text())["host_median_ms"] > 0
