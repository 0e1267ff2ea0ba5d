"""What `cutlayer convert` says of wrong input: the thing, the way out, exit code 1, and nothing written."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras_zoo
import numpy as np
import pytest

import cutlayer_boards.spec
from cutlayer_converter import quantize
from cutlayer_converter.cut import split
from cutlayer_converter.head import compile_head
from cutlayer_host.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOARD = "qemu_mps2_an386"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of the zoo and calibration data."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("sequential", "residual", "nested", "pooled"):
        model, samples = keras_zoo.build(name)
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", x=samples)
    return folder


@pytest.fixture
def fails(saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Runs the command; returns its error and its next step once nothing was written."""

    def run(
        model: str | Path = "sequential.keras",
        cut: str = "relu3",
        board: str = BOARD,
        data: str | Path = "sequential.npz",
        out: Path | None = None,
        *more: str,
    ) -> tuple[str, str]:
        out = out or tmp_path / "out" / "bundle"
        before = snapshot(tmp_path)
        arguments = [str(saved / model), "--cut", cut, "--board", board, "--data", str(saved / data)]
        code = main(["convert", *arguments, "--out", str(out), "--json", *more])
        captured = capfd.readouterr()
        assert code == 1, captured.err
        assert captured.out == ""
        assert snapshot(tmp_path) == before
        lines = captured.err.splitlines()
        assert lines[0].startswith("error: ")
        assert lines[-1].startswith("next: ")
        return "\n".join(lines[:-1]), lines[-1]

    return run


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


Fails = "Callable[..., tuple[str, str]]"


def test_unknown_cut_layer_gets_close_names(fails: Fails) -> None:
    error, following = fails(cut="relu_3")
    assert "no layer 'relu_3'" in error
    assert "'relu3'" in error
    assert "relu1" in following


def test_a_shallowest_cut_where_the_head_does_not_stop(fails: Fails) -> None:
    for layer in ("conv1", "mean"):
        error, following = fails(
            "sequential.keras", "relu3", BOARD, "sequential.npz", None, "--shallowest-cut", layer
        )
        assert f"does not stop after '{layer}'" in error
        assert following.endswith("--shallowest-cut: relu1, relu2, relu3")


def test_cut_inside_a_branch(fails: Fails) -> None:
    error, following = fails("residual.keras", "left", data="residual.npz")
    assert "'left' is not the only path" in error
    assert following == "next: cut after one of: conv1, stem, add, joined, flat"


def test_cut_inside_a_nested_model(fails: Fails) -> None:
    error, following = fails("nested.keras", "inner_conv", data="nested.npz")
    assert "'inner_conv' lies inside the nested model 'block'" in error
    assert "block" in following


def test_cut_at_the_ends(fails: Fails) -> None:
    assert "no tail" in fails(cut="chance")[0]
    assert "no head" in fails("nested.keras", input_name("nested"), data="nested.npz")[0]


def input_name(name: str) -> str:
    import keras

    assert keras_zoo.build(name)
    return str(keras.saving.load_model(SAVED[name]).layers[0].name)


@pytest.fixture(autouse=True)
def _paths(saved: Path) -> None:
    SAVED.update({path.stem: path for path in saved.glob("*.keras")})


SAVED: dict[str, Path] = {}


def test_a_layer_that_is_used_twice(fails: Fails, tmp_path: Path) -> None:
    import keras

    start = keras.Input((5, 5, 2))
    twice = keras.layers.Conv2D(2, 3, padding="same", name="twice")
    end = keras.layers.Dense(2)(keras.layers.Flatten()(twice(twice(start))))
    keras.Model(start, end).save(tmp_path / "twice.keras")
    assert "used 2 times" in fails(tmp_path / "twice.keras", "twice", data=calib(tmp_path, (3, 5, 5, 2)))[0]


def calib(folder: Path, shape: tuple[int, ...]) -> Path:
    path = folder / "own.npz"
    np.savez(path, np.random.default_rng(0).normal(size=shape).astype(np.float32))
    return path


@pytest.mark.parametrize(
    ("arrays", "key", "wanted"),
    [
        ({"x": np.zeros((4, 12, 10))}, "", "has the shape (4, 12, 10); the model takes (samples, 12, 10, 1)"),
        ({"x": np.zeros((12, 10, 1))}, "", "the model takes (samples, 12, 10, 1)"),
        ({"x": np.zeros((4, 10, 12, 1))}, "", "the model takes (samples, 12, 10, 1)"),
        ({"x": np.float32(1)}, "", "has the shape ()"),
        ({"x": np.zeros((0, 12, 10, 1))}, "", "is empty"),
        ({"x": np.full((4, 12, 10, 1), "a")}, "", "not numbers"),
        ({"x": np.zeros((4, 12, 10, 1), complex)}, "", "not numbers"),
        (
            {"x": np.array([0, np.nan, 0, np.inf])[:, None, None, None] * np.ones((1, 12, 10, 1))},
            "",
            "in 2 of 4",
        ),
        ({"x": np.full((1, 12, 10, 1), 1e300)}, "", "infinite values in 1 of 1"),
        ({"x": np.zeros((4, 12, 10, 1))}, "", "is 0 everywhere"),
        ({"x": np.zeros((4, 12, 10, 1))}, ":y", "holds no array 'y'"),
        ({}, "", "holds no array"),
    ],
)
def test_calibration_data(
    fails: Fails, tmp_path: Path, arrays: dict[str, Any], key: str, wanted: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    error, _ = fails(data=f"{tmp_path / 'bad.npz'}{key}")
    assert wanted in error


def test_calibration_file_that_is_none(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no array here")
    np.save(tmp_path / "bare.npy", np.zeros((4, 12, 10, 1)))
    np.savez(tmp_path / "pickled.npz", x=np.array([{}]))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "pickled.npz").read_bytes()[:40])
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "no such file" in fails(data=tmp_path / "missing.npz")[0]
    assert "cannot be read" in fails(data=tmp_path / "text.npz")[0]
    assert "not an .npz file" in fails(data=tmp_path / "bare.npy")[0]
    for name in ("pickled.npz", "cut.npz", "empty.npz"):
        assert "cannot be read" in fails(data=tmp_path / name)[0]


def test_unreadable_models(fails: Fails, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_text("not a model")
    (tmp_path / "half.keras").write_bytes((saved / "sequential.keras").read_bytes()[:2000])
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("hello", "world")
    assert "no such file" in fails(tmp_path / "missing.keras")[0]
    assert "no such file" in fails(tmp_path)[0]
    for name in ("text.keras", "half.keras", "zip.keras"):
        error, following = fails(tmp_path / name)
        assert "not a Keras model that can be read" in error
        assert "save it again" in following


def test_models_that_cannot_be_cut(fails: Fails, tmp_path: Path) -> None:
    import keras

    layers = keras.layers
    one, other = keras.Input((3,)), keras.Input((3,))
    keras.Model([one, other], layers.Add()([one, other])).save(tmp_path / "two.keras")
    start = keras.Input((None, 4, 1))
    keras.Model(start, layers.Conv2D(2, 3)(start)).save(tmp_path / "open.keras")
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([layers.Dense(3)]).save(tmp_path / "unbuilt.keras")
    assert "2 inputs" in fails(tmp_path / "two.keras")[0]
    assert "is not fixed" in fails(tmp_path / "open.keras")[0]
    assert "no graph of layers" in fails(tmp_path / "unbuilt.keras")[0]


@pytest.mark.parametrize("kind", ["op", "dilation", "no int8"])
def test_an_op_that_the_firmware_lacks(fails: Fails, tmp_path: Path, kind: str) -> None:
    import keras

    layers = keras.layers
    odd = {
        "op": layers.Conv2DTranspose(3, 2, name="odd"),
        "dilation": layers.Conv2D(3, 2, dilation_rate=2, name="odd"),
        "no int8": layers.LayerNormalization(name="odd"),
    }[kind]
    start = keras.Input((8, 8, 2))
    end = layers.Dense(3)(layers.Flatten()(odd(layers.ReLU()(start))))
    keras.Model(start, end).save(tmp_path / "odd.keras")
    error, following = fails(tmp_path / "odd.keras", "odd", data=calib(tmp_path, (5, 8, 8, 2)))
    named = {"op": "TRANSPOSE_CONV", "dilation": "dilation", "no int8": "odd_1/moments"}[kind]
    assert named in error + following
    assert "cut" in following


def test_over_the_budget_has_a_table_and_what_would_fit(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cutlayer_boards.spec.board(BOARD)
    model, samples = keras_zoo.build("pooled")
    head = compile_head(split(model, "dense1"), samples, "adam", whole)
    ram_bytes = sum(line.bytes for line in head.memory if line.section == "ram")
    small = replace(whole, name="small", environment="small", ram_bytes=ram_bytes - 1)
    tiny = replace(whole, name="tiny", environment="tiny", ram_bytes=100, flash_bytes=100)
    monkeypatch.setattr(cutlayer_boards.spec, "boards", lambda: (whole, small, tiny))
    error, following = fails("pooled.keras", "dense1", "small", "pooled.npz")
    assert "over the budget of small" in error
    for line in (
        "arena",
        "gradient accumulator",
        "optimizer (adam)",
        "link buffers",
        "receive ring",
        "stack",
        "code",
    ):
        assert line in error
    assert "1 bytes of RAM over the budget of small" in error
    assert f"{ram_bytes:,}" in error
    assert following == (
        "next: use --master bfloat16; or use --optimizer sgd; or cut earlier, with --cut conv1; "
        f"or take a larger board: --board {BOARD}"
    )
    error, following = fails(
        "sequential.keras", "relu3", "tiny", "sequential.npz", None, "--optimizer", "sgd"
    )
    assert "bytes of RAM and" in error
    assert "bytes of flash" in error
    assert following == f"next: take a larger board: --board {BOARD}"


def test_output_folder_that_holds_something_else(fails: Fails, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear diary")
    assert "letter.txt" in fails(out=out)[0]
    (out / "letter.txt").rename(out / "manifest.json")
    assert "no bundle's" in fails(out=out)[0]
    (out / "manifest.json").write_text('{"bundle_version": 1}')
    (out / "notes").mkdir()
    assert "'notes'" in fails(out=out)[0]
    (out / "manifest.json").rename(tmp_path / "file")
    assert "no folder" in fails(out=tmp_path / "file")[0]
    assert "cannot be written" in fails(out=tmp_path / "file" / "under")[0]


def test_a_write_that_fails_leaves_the_old_bundle(
    fails: Fails,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from cutlayer_converter import convert

    out = tmp_path / "bundle"
    arguments = [str(saved / "sequential.keras"), "--cut", "relu3", "--board", BOARD]
    assert main(["convert", *arguments, "--data", str(saved / "sequential.npz"), "--out", str(out)]) == 0
    capfd.readouterr()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "emit", full)
    assert "No space left" in fails(cut="relu2", out=out)[0]


def test_class_names(fails: Fails) -> None:
    plain = ("sequential.keras", "relu3", BOARD, "sequential.npz", None)
    assert "3 class names for the model's 4 outputs" in fails(*plain, "--classes", "a,b,c")[0]
    assert "not all different" in fails(*plain, "--classes", "a,b,c,a")[0]


def test_unknown_board(fails: Fails) -> None:
    error, following = fails(board="toaster")
    assert "'toaster'" in error
    assert BOARD in following


def test_tensorflow_that_fails_names_the_layers(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "_PLAIN", ())
    monkeypatch.setattr("tensorflow.lite.TFLiteConverter.from_concrete_functions", lambda _: 1 / 0)
    assert "the head has BatchNormalization, Conv2D" in fails()[0]
