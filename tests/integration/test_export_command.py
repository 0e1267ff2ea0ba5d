"""`cutlayer export` with a board that has trained: the exported head gives the board's bytes."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tflm_cut import smashed_by_tflm
from tiny_board import RECORDINGS, SHAPE, TinyBoard

from cutlayer_boards.keys import DeviceKey, Keys
from cutlayer_boards.storage import read_key, write_key
from cutlayer_converter.bundle import load_manifest
from cutlayer_host.cli import main
from cutlayer_host.codes import Optimizer
from cutlayer_host.host_messages import Configure
from cutlayer_host.opening import connect
from cutlayer_host.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

HELD_OUT = range(64, RECORDINGS)


@contextmanager
def running(tiny: TinyBoard, folder: Path, *more: str) -> Iterator[str]:
    """A native board's URL."""
    command = [
        str(tiny.firmware.path),
        "--listen",
        f"unix:{folder}/link",
        "--microphone",
        str(tiny.microphone),
    ]
    if "--storage" not in more:
        more = ("--storage", str(folder / "fresh"))
    storage = Path(more[-1])
    if (device := read_key(storage) if storage.exists() else None) is None:
        device = DeviceKey.fresh()
        write_key(storage, device)
    Keys.default().add(device)
    with subprocess.Popen(
        [*command, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


async def look(url: str, run: int, rescale: float) -> np.ndarray:
    """The smashed data of the recordings held out, as the board has it after a change of scale."""
    async with connect(url, key=Keys.default().find) as device:
        welcome, adam = device.welcome, {"momentum": 0.9, "beta2": 0.999, "epsilon": 1e-7}
        cut = welcome.cut_count - 1
        await device.configure(Configure(restart=False, run=run, cut=cut, optimizer=Optimizer.ADAM, **adam))
        scale = (await device.rescale(welcome.output_scale * rescale, welcome.output_zero_point)).scale
        taken = [await device.sample(1 + i, i, train=False) for i in HELD_OUT]
        return np.stack([(each.values.astype(np.float32) - each.zero_point) * scale for each in taken])


def heard(tiny: TinyBoard) -> np.ndarray:
    """The same recordings as the float model takes them."""
    source = load_manifest(tiny.bundle).input
    values = np.frombuffer(tiny.microphone.read_bytes(), np.int8).reshape(-1, *SHAPE)[HELD_OUT.start :]
    return (values.astype(np.float32) - source.zero_point) * np.float32(source.scale)


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs a command with the test's store; returns its JSON, or its error."""

    def run(*arguments: object) -> Any:
        store = ["--store", str(tmp_path / "runs"), "--json"]
        failed = main([*map(str, arguments), *store])
        out, err = capfd.readouterr()
        return err if failed else json.loads(out)

    return run


def test_what_a_board_has_learned_becomes_models(tiny: TinyBoard, tmp_path: Path, command: Any) -> None:
    import keras

    storage = ("--storage", str(tmp_path / "storage"))
    training = ["--bundle", tiny.bundle, "--samples", 64, "--learning-rate", 3e-3]
    with running(tiny, tmp_path, *storage) as url:
        first = command("train", "--device", url, *training)
        lineage = Store.existing(tmp_path / "runs").run(1).lineage
        smashed = asyncio.run(look(url, lineage, 1.3))
        found = command("export", "--device", url, "--out", tmp_path / "out")
    assert (found["run"], found["step"], found["head"]) == (1, first["steps"], "learned")
    assert found["files"] == ["head.tflite", "model.keras", "tail.keras"]
    inputs = heard(tiny)

    by_tflm = smashed_by_tflm((tmp_path / "out" / "head.tflite").read_bytes(), inputs)
    np.testing.assert_array_equal(by_tflm.reshape(smashed.shape), smashed)

    tail = keras.saving.load_model(tmp_path / "out" / "tail.keras")
    by_parts = np.asarray(tail(smashed.reshape(-1, *tail.input_shape[1:]), training=False))
    whole = np.asarray(keras.saving.load_model(tmp_path / "out" / "model.keras")(inputs, training=False))
    untrained = np.asarray(
        keras.saving.load_model(tiny.bundle.parent / "model.keras")(inputs, training=False)
    )
    assert np.abs(whole - by_parts).mean() < 0.03 * np.ptp(by_parts) < 0.3 * np.abs(whole - untrained).mean()
    assert np.mean(whole.argmax(1) == by_parts.argmax(1)) > 0.9
    assert np.mean(whole.argmax(1) == np.array(tiny.labels)[HELD_OUT]) > 0.8

    # It has learned something else since, but its storage holds the first run's last step, with its scale.
    with running(tiny, tmp_path, *storage) as url:
        assert command("train", "--device", url, *training, "--seed", 1)["run"] == 2
        assert command("export", 1, "--device", url, "--out", tmp_path / "out")["step"] == first["steps"]
        restored = asyncio.run(look(url, lineage, 1.0))
    assert not np.array_equal(restored, smashed)
    by_tflm = smashed_by_tflm((tmp_path / "out" / "head.tflite").read_bytes(), inputs)
    np.testing.assert_array_equal(by_tflm.reshape(smashed.shape), restored)


def test_without_the_board_it_is_the_tail_and_a_wrong_board_is_refused(
    tiny: TinyBoard, tmp_path: Path, command: Any
) -> None:
    training = ["--bundle", tiny.bundle, "--samples", 16]
    with running(tiny, tmp_path) as url:
        command("train", "--device", url, *training)
        command("train", "--device", url, *training, "--freeze-head")
        alone = command("export", 1, "--out", tmp_path / "tail")
        assert (alone["head"], alone["files"]) == (None, ["tail.keras"])
        frozen = command("export", "--out", tmp_path / "frozen")
        assert (frozen["run"], frozen["head"], frozen["step"]) == (2, "converted", 2)
    with running(tiny, tmp_path, "--storage", str(tmp_path / "another")) as url:
        refused = command("export", 1, "--device", url, "--out", tmp_path / "wrong")
    assert "step 0 of another run and holds no step of run 1; the store holds step" in refused
    assert "next: " in refused
    assert not (tmp_path / "wrong").exists()
    assert "there is not run 7" in command("export", 7, "--out", tmp_path / "wrong")
    other = json.loads((tiny.bundle / "manifest.json").read_text()) | {"model_id": "ab" * 32}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(other))
    refused = command("export", "--bundle", tmp_path / "other", "--out", tmp_path / "wrong")
    assert "is model abababababab, run 2 trained model" in refused
