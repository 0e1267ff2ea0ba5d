"""The manifest: what is written is read again, and a damaged one is refused by the name of its field."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cutlayer_converter.bundle import (
    BUNDLE_VERSION,
    CutSpec,
    InputSpec,
    Manifest,
    MemoryLine,
    TrainableLayer,
    load_manifest,
)
from cutlayer_converter.errors import ConvertError

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = Manifest(
    bundle_version=BUNDLE_VERSION,
    model_id="0f" * 32,
    board="qemu_mps2_an386",
    cut_layer="relu2",
    input=InputSpec((49, 40, 1), 0.1, -3),
    cuts=(
        CutSpec("relu1", 1, (25, 20, 8), 0.02, -128, -128, 127),
        CutSpec("relu2", 3, (13, 10, 8), 0.05, -128, -128, 127),
    ),
    first_cut=1,
    trainable=TrainableLayer("conv2", "conv2d", (8, 1, 1, 8), 8, 0.02, "relu", 512),
    untrainable_reason=None,
    class_names=("yes", "no"),
    optimizer="adam",
    memory=(
        MemoryLine("arena", "ram", 4000),
        MemoryLine("stack", "ram", 2000),
        MemoryLine("code", "flash", 9),
    ),
    ram_budget_bytes=262144,
    flash_budget_bytes=1048576,
)


def write(folder: Path, data: Any) -> Path:
    (folder / "manifest.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return folder


@pytest.mark.parametrize("trainable", [True, False])
def test_what_is_written_is_read_again(tmp_path: Path, trainable: bool) -> None:
    manifest = MANIFEST
    if not trainable:
        fields = {name: getattr(MANIFEST, name) for name in Manifest.__slots__}
        manifest = Manifest(
            **{**fields, "trainable": None, "untrainable_reason": "none", "class_names": None}
        )
    assert load_manifest(write(tmp_path, manifest.to_json())) == manifest


def test_sums_and_counts() -> None:
    assert (MANIFEST.ram_bytes, MANIFEST.flash_bytes) == (6000, 9)
    assert MANIFEST.smashed.layer == "relu2"
    assert MANIFEST.smashed.count == 13 * 10 * 8
    assert MANIFEST.trainable is not None
    assert MANIFEST.trainable.weight_count == 64


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (("model_id",), None, "manifest.model_id"),
        (("model_id",), "abc", "model_id"),
        (("cuts",), [], "no cuts"),
        (("cuts",), {}, "manifest.cuts"),
        (("first_cut",), 2, "first_cut is 2 of 2 cuts"),
        (("first_cut",), -1, "first_cut is -1 of 2 cuts"),
        (("cuts", 1, "scale"), "0.1", "manifest.cuts[1].scale"),
        (("cuts", 1, "scale"), 10**400, "manifest.cuts[1].scale"),
        (("input", "scale"), float("inf"), "manifest.input.scale"),
        (("input", "scale"), float("nan"), "manifest.input.scale"),
        (("cuts", 0, "op_count"), 1.5, "manifest.cuts[0].op_count"),
        (("cuts", 0, "op_count"), True, "manifest.cuts[0].op_count"),
        (("input", "shape"), [1, "2"], "manifest.input.shape[1]"),
        (("trainable", "kind"), "lstm", "manifest.trainable.kind"),
        (("optimizer",), "rmsprop", "manifest.optimizer"),
        (("memory", 0), 7, "manifest.memory[0]"),
        (("bundle_version",), 3, "bundle version 3"),
        (("bundle_version",), None, "bundle version None"),
    ],
)
def test_a_damaged_field_is_named(tmp_path: Path, path: tuple[Any, ...], value: Any, wanted: str) -> None:
    data = copy.deepcopy(json.loads(MANIFEST.to_json()))
    target = data
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(ConvertError, match=r"manifest\.json") as caught:
        load_manifest(write(tmp_path, data))
    assert wanted in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", list(json.loads(MANIFEST.to_json())))
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    data = json.loads(MANIFEST.to_json())
    del data[name]
    with pytest.raises(ConvertError) as caught:
        load_manifest(write(tmp_path, data))
    assert ("bundle version" if name == "bundle_version" else name) in str(caught.value)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    for text in ("", "[]", "null", "{", "\ufeff{}", "[" * 100_000):
        with pytest.raises(ConvertError):
            load_manifest(write(tmp_path, text))
    with pytest.raises(ConvertError, match="no bundle there"):
        load_manifest(tmp_path / "nothing")
    with pytest.raises(ConvertError, match="no bundle there"):
        load_manifest(tmp_path / "manifest.json")


def test_reading_a_bundle_and_help_need_no_tensorflow() -> None:
    check = (
        "import sys, cutlayer_converter.bundle, cutlayer_converter.command;"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
