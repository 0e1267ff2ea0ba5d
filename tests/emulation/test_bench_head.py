"""`cutlayer bench head`: its JSON, its errors, and the figures that issue 5 asks for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from baseline import BASELINE, NAMES, baseline
from click.testing import CliRunner

from cutlayer_boards.errors import BoardError
from cutlayer_converter.bench_head import head
from cutlayer_converter.errors import ConvertError

if TYPE_CHECKING:
    from pathlib import Path

# Parts of what TFLM takes with CMSIS-NN.
MOST_INSTRUCTIONS = {"ad": 0.65}
MOST_INSTRUCTIONS_OF_CONVOLUTIONS = 0.42
MOST_FLASH = 0.3
# Of TFLM with its reference kernels.
MOST_INSTRUCTIONS_IN_PLAIN_C = {"long-multiply": 0.25, "portable": 0.45}
WITH_WEIGHTS = ("conv2d", "dense", "depthwise")


def bench(*arguments: str | Path) -> dict[str, Any]:
    words = [*map(str, arguments), "--json"]
    values: dict[str, Any] = json.loads(CliRunner().invoke(head, words, catch_exceptions=False).stdout)
    return values


@pytest.mark.qemu
@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_model_is_to_the_bit_and_within_the_figures(name: str, tmp_path: Path) -> None:
    model = baseline(name)
    np.save(tmp_path / "input.npy", model.inputs)
    options = ["--input", tmp_path / "input.npy", "--output", tmp_path / "output.npy"]
    values = bench(BASELINE / f"{name}.tflite", *options)
    np.testing.assert_array_equal(np.load(tmp_path / "output.npy").reshape(-1), model.outputs.reshape(-1))
    assert values["bytes_different_from_tflm"] == 0
    most = MOST_INSTRUCTIONS.get(name, MOST_INSTRUCTIONS_OF_CONVOLUTIONS)
    assert values["instructions_of_tflm"] <= most
    assert values["flash_bytes_without_weights_of_tflm"] <= MOST_FLASH
    assert 0 < values["stack_bytes"] < 1024
    assert sum(op["instructions"] for op in values["ops"]) == pytest.approx(values["instructions"], rel=0.01)
    assert sum(op["macs"] for op in values["ops"]) == values["macs"]


@pytest.mark.qemu
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("instruction_set", "suffix"), [("long-multiply", "_long"), ("portable", "")])
def test_kernels_in_plain_c_take_a_part_of_the_reference_ones(
    instruction_set: str, suffix: str, name: str
) -> None:
    values = bench(BASELINE / f"{name}.tflite", "--instruction-set", instruction_set)
    assert values["instruction_set"] == instruction_set
    assert {op["kernel"] for op in values["ops"] if op["macs"]} <= {
        "cl_fused",
        *(f"cl_{kind}{suffix}" for kind in WITH_WEIGHTS),
    }
    assert values["tflm_kernels"] == "reference"
    assert values["instructions_of_tflm"] <= MOST_INSTRUCTIONS_IN_PLAIN_C[instruction_set]
    assert values["flash_bytes_without_weights_of_tflm"] <= MOST_FLASH
    assert values["bytes_different_from_tflm"] == 0


def test_inputs_of_another_size_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "input.npy", np.zeros((1, 7), np.int8))
    with pytest.raises(ConvertError, match=r"holds int8 of shape \(1, 7\)"):
        bench(BASELINE / "ad.tflite", "--input", tmp_path / "input.npy")


def test_kernels_that_the_board_cannot_run_are_refused() -> None:
    with pytest.raises(BoardError, match="qemu_mps2_an385 cannot run kernels for armv7e-m") as caught:
        bench(BASELINE / "ad.tflite", "--board", "qemu_mps2_an385", "--instruction-set", "armv7e-m")
    assert caught.value.hint == "it runs those for portable or long-multiply"


def test_a_board_that_does_not_count_is_refused() -> None:
    with pytest.raises(ConvertError, match="native is none of them"):
        bench(BASELINE / "ad.tflite", "--board", "native")
