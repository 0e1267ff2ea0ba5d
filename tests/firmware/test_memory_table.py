"""The converter's memory table against what the C code asks for."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from core import INCLUDE, ROOT
from train_layer import KINDS, CoreTrain, random_layer
from train_reference import Config, F

from cutlayer_boards.spec import board
from cutlayer_converter import memory
from cutlayer_converter.trainable import TrainableSpec

if TYPE_CHECKING:
    from pathlib import Path

BOARD = board("qemu_mps2_an386")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_lines_sum_to_cl_train_bytes(kind: str, optimizer: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        layer = random_layer(rng, kind)
        spec = TrainableSpec(
            kind=kind,
            optimizer=optimizer,
            weight_shape=(layer.weights.size,),
            weight_scales=tuple(map(float, layer.weight_scale)),
            channel_count=layer.channels,
            activation="none",
            input_scale=0.1,
            output_scale=0.1,
        )
        plan = SimpleNamespace(arena_bytes=0, weight_bytes=0, steps=())
        lines = memory.memory_table(plan, spec, replace(BOARD, stack_bytes=0))
        total = sum(line.bytes for line in lines if line.section == "ram" and line.name != "link buffers")
        row_of_the_gradient = layer.channels
        assert total == CoreTrain(layer, Config(optimizer, F(0))).bytes + row_of_the_gradient


def test_link_lines_are_the_nodes(tmp_path: Path) -> None:
    """Measured with the board's own compiler: sizes of a 32-bit machine."""
    source = tmp_path / "sizes.c"
    source.write_text(
        '#include "cutlayer/node.h"\n'
        "char link_bytes[CL_NODE_ALIGN(CL_LINK_BYTES(CL_NODE_MAX_PAYLOAD, CL_NODE_WINDOW_FRAMES))];\n"
        "struct cl_node node;\n"
    )
    binary = tmp_path / "sizes.o"
    subprocess.run(
        ["arm-none-eabi-gcc", "-std=c99", "-mthumb", f"-I{INCLUDE}", "-c", source, "-o", binary], check=True
    )
    text = subprocess.run(
        ["arm-none-eabi-nm", "-S", binary], capture_output=True, text=True, check=True
    ).stdout
    sizes = {line.split()[3]: int(line.split()[1], 16) for line in text.splitlines()}
    assert sizes["link_bytes"] == memory.LINK_BYTES
    assert 0 <= memory.NODE_BYTES - sizes["node"] <= 512
    header = (ROOT / "firmware" / "port" / "cortex_m" / "cortex_m.h").read_text()
    assert f"CORTEX_M_RECEIVE_BYTES {memory.RECEIVE_BYTES}u" in header
