"""`cutlayer bench bytes`: the smaller models at every cut equal TFLM, and a difference is counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from baseline import BASELINE, baseline
from click.testing import CliRunner

from cutlayer_converter import baseline as beside
from cutlayer_converter import bench_bytes, bench_head, measure_bytes
from cutlayer_converter.graph import read_graph
from cutlayer_converter.verify import Oracle

if TYPE_CHECKING:
    from pathlib import Path

    import click


def bench(command: click.Command, *arguments: str | Path) -> dict[str, Any]:
    words = [*map(str, arguments), "--json"]
    values: dict[str, Any] = json.loads(CliRunner().invoke(command, words, catch_exceptions=False).stdout)
    return values


@pytest.mark.qemu
def test_no_byte_differs_and_batches_are_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_bytes, "BATCH_BYTES", 300_000)
    models = [BASELINE / f"{name}.tflite" for name in ("kws", "ad")]
    found = bench(bench_bytes.bench_bytes, *models, "--inputs", "9")
    assert (found["inputs"], found["differing"]) == (9, 0)
    kws = found["models"]["kws"]
    # Natively, and as many in QEMU.
    assert (kws["cuts"], kws["bytes"]) == (12, 2 * 9 * 72_088)


@pytest.mark.qemu
def test_bytes_of_another_model_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    tflite = bytearray(baseline("rnd_head0").tflite)
    graph = read_graph(bytes(tflite))
    weights = graph.inputs(graph.operators[0])[1]
    assert weights is not None
    assert weights.values is not None
    tflite[tflite.index(weights.values.tobytes())] ^= 0x40
    monkeypatch.setattr(measure_bytes, "Oracle", lambda _: Oracle(bytes(tflite)))
    found = bench(bench_bytes.bench_bytes, BASELINE / "rnd_head0.tflite", "--inputs", "2")
    values = found["models"]["rnd_head0"]
    assert 0 < values["differing_native"] == values["differing_board"] < values["bytes"] / 2
    assert found["differing"] == 2 * values["differing_board"]


@pytest.mark.parametrize("command", [bench_bytes.bench_bytes, bench_head.head])
def test_without_the_baseline_a_bench_says_that_it_is_skipped(
    command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "FOLDER", tmp_path)
    assert bench(command) == {"skipped": f"there is no model in {tmp_path}"}
    with pytest.raises(beside.NoBaselineError, match="no model"):
        CliRunner().invoke(command, [], catch_exceptions=False)
