"""`cutlayer bench update`: its JSON, and the figures that issue 5 asks for."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cutlayer_boards.spec import board
from cutlayer_converter.bench_update import update
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.measure_update import LAYERS, measure_update

MOST_INSTRUCTIONS_A_MAC = 1.5
MOST_INSTRUCTIONS_A_WEIGHT = 50.0


@pytest.mark.qemu
def test_every_layer_and_optimizer_is_counted() -> None:
    result = CliRunner().invoke(update, ["--json"], catch_exceptions=False)
    rows = json.loads(result.stdout)["updates"]
    assert [(row["layer"], row["optimizer"], row["master"]) for row in rows] == [
        *((layer.name, optimizer, "float32") for layer in LAYERS for optimizer in ("sgd", "adam")),
        *(("pointwise", optimizer, "bfloat16") for optimizer in ("sgd", "adam")),
    ]
    # Half of master weights and one moment: 4,160 parameters.
    assert rows[0]["train_bytes"] - rows[-2]["train_bytes"] == 2 * 2 * 4160
    pointwise = rows[0]
    assert (pointwise["shape"], pointwise["positions"]) == ("64 x 64, 1 x 1", 125)
    assert 0.5 < pointwise["accumulate_instructions_a_mac"] <= MOST_INSTRUCTIONS_A_MAC
    assert 10 < pointwise["apply_instructions_a_weight"] <= MOST_INSTRUCTIONS_A_WEIGHT


def test_a_board_that_does_not_count_is_refused() -> None:
    with pytest.raises(ConvertError, match="native is none of them"):
        measure_update(LAYERS[0], "sgd", board("native"), "portable")
