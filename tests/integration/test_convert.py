"""Keras models to bundles: the head's bytes are TFLM's, head and tail together are the model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import keras_zoo
import numpy as np
import pytest

from cutlayer_boards.spec import board
from cutlayer_converter.bundle import load_manifest
from cutlayer_converter.convert import convert
from cutlayer_converter.cut import split, valid_cuts
from cutlayer_converter.head import compile_head
from cutlayer_converter.verify import Oracle, native_head
from cutlayer_host.cli import main

if TYPE_CHECKING:
    from pathlib import Path

BOARD = board("qemu_mps2_an386")


@pytest.mark.parametrize("name", keras_zoo.ZOO)
def test_head_is_tflm_and_the_tail_makes_it_the_model_again(name: str) -> None:
    entry = keras_zoo.ZOO[name]
    model, samples = keras_zoo.build(name)
    head = compile_head(split(model, entry.cut), samples, "adam", BOARD)
    graph = head.graph
    scale, zero_point = graph.output.scale, graph.output.zero_point
    oracle = Oracle(head.tflite)
    smashed = []
    with native_head(head.tflite) as native:
        for sample in samples[:8]:
            q = np.clip(np.round(sample / graph.input.scale) + graph.input.zero_point, -128, 127)
            q = q.astype(np.int8).reshape(graph.input.shape)
            oracle.run(q)
            for cut in native.plan.cuts:
                np.testing.assert_array_equal(native.run(q, cut), oracle.tensor(cut.tensor.index))
            smashed.append((native.run(q).astype(np.float32) - zero_point) * scale)
    shape = head.split.tail.input_shape[1:]
    got = np.asarray(head.split.tail(np.concatenate(smashed).reshape(-1, *shape), training=False))
    expected = np.asarray(model(samples[:8], training=False))
    assert np.abs(got - expected).max() < 0.1 * np.ptp(expected)
    # In floats nothing is lost at all.
    whole = head.split.tail(head.split.head(samples[:8], training=False), training=False)
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", keras_zoo.ZOO)
def test_every_valid_cut_gives_the_model_in_floats(name: str) -> None:
    model, samples = keras_zoo.build(name)
    expected = np.asarray(model(samples[:3], training=False))
    cuts = valid_cuts(model)
    assert keras_zoo.ZOO[name].cut in cuts
    for cut in cuts:
        part = split(model, cut)
        smashed = part.head(samples[:3], training=False)
        np.testing.assert_allclose(part.tail(smashed, training=False), expected, rtol=1e-4, atol=1e-5)


def test_cuts_of_a_residual_model_leave_the_branches_out() -> None:
    model, _ = keras_zoo.build("residual")
    assert valid_cuts(model) == ["conv1", "stem", "add", "joined", "flat"]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """A saved model and its calibration data."""
    return save(tmp_path, "sequential")


def save(folder: Path, name: str) -> tuple[Path, Path]:
    model, samples = keras_zoo.build(name)
    path, data = folder / "model.keras", folder / "calib.npz"
    model.save(path)
    np.savez(data, samples)
    return path, data


@pytest.mark.parametrize("name", keras_zoo.ZOO)
def test_bundle_names_layers_and_what_trains(name: str, tmp_path: Path) -> None:
    entry = keras_zoo.ZOO[name]
    path, data = save(tmp_path, name)
    manifest = convert(path, entry.cut, BOARD, data, tmp_path / "bundle", optimizer="sgd")
    assert load_manifest(tmp_path / "bundle") == manifest
    model, _ = keras_zoo.build(name)
    assert manifest.cut_layer == manifest.smashed.layer == entry.cut
    # A cut of the compiled head comes after the ops fused into it: some of the model's own cuts, in order.
    layers = [cut.layer for cut in manifest.cuts]
    assert len(set(layers)) == len(layers)
    assert set(layers) <= {layer.name for layer in model.layers}
    if entry.kind is None:
        assert manifest.trainable is None
        assert manifest.untrainable_reason
    else:
        trainable = manifest.trainable
        assert trainable is not None
        assert (trainable.kind, trainable.layer) == (entry.kind, entry.layer)
        assert trainable.activation == entry.activation
        rows = trainable.samples_max * np.prod(manifest.smashed.shape) // trainable.channel_count
        assert 65_793 - manifest.smashed.count < rows <= (2**31 - 1) // (128 * 128)
        assert trainable.channel_count == np.prod(manifest.smashed.shape[-1:]) or name == "reshaped"
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {
        "manifest.json",
        "head.tflite",
        "head.keras",
        "tail.keras",
        "firmware",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "calib.npz", "model.keras"]


def test_each_head_names_kernels_of_its_instruction_set_alone(
    saved: tuple[Path, Path], tmp_path: Path
) -> None:
    path, data = saved
    # The cut behind a convolution: what the board trains is made by a kernel of its own, too.
    manifest = convert(path, "relu3", BOARD, data, tmp_path / "bundle")
    assert manifest.trainable is not None
    assert manifest.trainable.kind == "conv2d"
    firmware = tmp_path / "bundle" / "firmware"
    kernels = {
        name: set(re.findall(r"\bcl_(\w+_(?:armv7em|long))(?:_rows)?\b", (firmware / name).read_text()))
        for name in ("cutlayer_model.c", "long-multiply/cutlayer_model.c", "armv7e-m/cutlayer_model.c")
    }
    own = {name: {kernel.rsplit("_", 1)[1] for kernel in found} for name, found in kernels.items()}
    assert list(own.values()) == [set(), {"long"}, {"armv7em"}]
    assert "conv2d_plain_armv7em" in kernels["armv7e-m/cutlayer_model.c"]


def test_same_input_same_bundle(saved: tuple[Path, Path], tmp_path: Path) -> None:
    path, data = saved
    bundles = [tmp_path / "one", tmp_path / "two"]
    first, second = (convert(path, "relu3", BOARD, data, out) for out in bundles)
    assert first == second
    for name in ("head.tflite", "manifest.json", "firmware/cutlayer_model.c"):
        assert (bundles[0] / name).read_bytes() == (bundles[1] / name).read_bytes()
    assert convert(path, "relu3", BOARD, data, bundles[0], optimizer="sgd").model_id != first.model_id
    assert convert(path, "relu2", BOARD, data, bundles[0]).model_id != first.model_id


def run_json(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code = main(["convert", *map(str, arguments), "--json"])
    out, err = capfd.readouterr()
    assert code == 0, err
    return json.loads(out)


def test_the_command_writes_a_bundle(
    saved: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, data = saved
    out = tmp_path / "new" / "bundle"
    arguments = (path, "--cut", "relu3", "--board", BOARD.name, "--data", data, "--out", out)
    result = run_json(capfd, *arguments, "--classes", "a,b, c,d", "--verify")
    manifest = load_manifest(out)
    assert result["manifest"]["model_id"] == manifest.model_id
    assert manifest.class_names == ("a", "b", "c", "d")
    assert result["verified"] is True
    # Again, over the bundle, with a named array: the terminal's table is for people.
    np.savez(tmp_path / "named.npz", other=np.zeros(3), x=np.load(data)["arr_0"].astype(np.float64))
    named = (*arguments[:6], f"{tmp_path / 'named.npz'}:x", *arguments[7:])
    assert main(["convert", *map(str, named)]) == 0
    text = capfd.readouterr().err
    assert "gradient accumulator" in text
    assert "262,144" in text
    assert load_manifest(out).model_id == manifest.model_id


def test_the_tail_takes_smashed_data_and_has_no_weights_of_the_head(
    saved: tuple[Path, Path], tmp_path: Path
) -> None:
    import keras

    manifest = convert(saved[0], "relu3", BOARD, saved[1], tmp_path / "bundle")
    tail = keras.saving.load_model(tmp_path / "bundle" / "tail.keras")
    assert tail.input_shape[1:] == manifest.smashed.shape
    assert [layer.name for layer in tail.layers] == ["smashed", "mean", "out", "chance"]


@pytest.mark.parametrize(("shallowest", "layer"), [(None, "relu3"), ("relu1", "relu1"), ("relu3", "relu3")])
def test_a_host_may_choose_cuts_down_to_the_one_that_was_named(
    saved: tuple[Path, Path], tmp_path: Path, shallowest: str | None, layer: str
) -> None:
    model, data = saved
    manifest = convert(model, "relu3", BOARD, data, tmp_path / "bundle", shallowest_cut=shallowest)
    assert manifest.cuts[manifest.first_cut].layer == layer
    tables = list((tmp_path / "bundle" / "firmware").rglob("cutlayer_model.c"))
    assert len(tables) > 1
    for table in tables:
        assert f"    .first_cut = {manifest.first_cut},\n" in table.read_text()
