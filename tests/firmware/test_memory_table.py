"""The converter's memory table against what the C code asks for."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from core import INCLUDE, ROOT
from train_layer import KINDS, CoreTrain, random_layer
from train_reference import Config, F

from cutlayer_boards.spec import BOARDS_FOLDER, board
from cutlayer_converter import memory
from cutlayer_converter.sensor import SOUND_BYTES
from cutlayer_converter.trainable import TrainableSpec, gradient_bytes

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
        plan = SimpleNamespace(arena_bytes=0, sensor_offset=0, sensor_bytes=0, weight_bytes=0, steps=())
        lines = memory.memory_table(plan, spec, replace(BOARD, stack_bytes=0))
        others = ("link buffers", "receive ring", "node and port")
        total = sum(line.bytes for line in lines if line.section == "ram" and line.name not in others)
        core = CoreTrain(layer, Config(optimizer, F(0)))
        assert total == core.bytes
        output = SimpleNamespace(count=int(np.prod(layer.output_shape)))
        last = cast("Any", SimpleNamespace(params={"output": layer.output_shape}, output=output))
        assert gradient_bytes(last) == core.lib.cl_train_gradient_bytes(core.trainable)


def symbol_bytes(nm: str, binary: Path) -> dict[str, int]:
    text = subprocess.run([nm, "-S", binary], capture_output=True, text=True, check=True).stdout
    symbols = [line.split() for line in text.splitlines()]
    return {symbol[3]: int(symbol[1], 16) for symbol in symbols if len(symbol) == 4}


@pytest.mark.parametrize(
    ("name", "compiler"),
    [
        ("qemu_mps2_an386", ["arm-none-eabi-gcc", "-mthumb"]),
        ("megaatmega2560", ["avr-gcc", "-mmcu=atmega2560"]),
    ],
)
def test_link_lines_are_the_nodes(name: str, compiler: list[str], tmp_path: Path) -> None:
    """Measured with the board's own compiler, and with what its JSON makes of the node's limits."""
    spec = board(name)
    source, binary = tmp_path / "sizes.c", tmp_path / "sizes.o"
    source.write_text(
        f"#define CL_NODE_MAX_PAYLOAD {spec.max_payload}u\n"
        f"#define CL_NODE_WINDOW_FRAMES {spec.window_frames}u\n"
        '#include "cutlayer/node.h"\n'
        "char link_bytes[CL_NODE_ALIGN(CL_LINK_BYTES(CL_NODE_MAX_PAYLOAD, CL_NODE_WINDOW_FRAMES))];\n"
        "struct cl_node node;\n"
    )
    command = [*compiler, "-std=c99", f"-I{INCLUDE}", "-c", source, "-o", binary]
    subprocess.run(command, check=True)
    sizes = symbol_bytes(compiler[0].replace("gcc", "nm"), binary)
    plan = SimpleNamespace(arena_bytes=0, sensor_offset=0, sensor_bytes=0, weight_bytes=0, steps=())
    lines = {line.name: line.bytes for line in memory.memory_table(plan, None, spec)}
    assert lines["link buffers"] == sizes["link_bytes"]
    assert (lines["receive ring"], lines["node and port"]) == (spec.receive_bytes, spec.node_bytes)
    assert 0 <= spec.node_bytes - sizes["node"] <= 768


@pytest.mark.parametrize("arena_bytes", [2000, 8880, 8896, 8912, 16_000])
def test_sensor_line_is_what_it_takes_beyond_the_arena(arena_bytes: int, tmp_path: Path) -> None:
    """By the board's compiler: the bytes that a head which hears lends, and what they come to in a node."""
    offset = 1968
    source, binary = tmp_path / "sizes.c", tmp_path / "sizes.o"
    source.write_text(
        '#include "cutlayer/node.h"\n'
        '#include "kws/audio.h"\n'
        "char work[sizeof(struct kws_audio_work)];\n"
        f"char beyond[1 + CL_NODE_SENSOR_BYTES({arena_bytes}u, {offset}u, sizeof(struct kws_audio_work))];\n"
    )
    folders = [f"-I{folder}" for folder in (INCLUDE, ROOT / "firmware" / "lib" / "kws" / "include")]
    command = ["arm-none-eabi-gcc", "-mthumb", "-std=c99", *folders, "-c", source, "-o", binary]
    subprocess.run(command, check=True)
    sizes = symbol_bytes("arm-none-eabi-nm", binary)
    assert sizes["work"] == SOUND_BYTES
    plan = SimpleNamespace(
        arena_bytes=arena_bytes, sensor_offset=offset, sensor_bytes=SOUND_BYTES, weight_bytes=0, steps=()
    )
    lines = {line.name: line.bytes for line in memory.memory_table(plan, None, BOARD)}
    assert lines.get("sensor", 0) == sizes["beyond"] - 1


def test_limits_of_the_node_are_the_headers_own() -> None:
    header = (INCLUDE / "cutlayer" / "node.h").read_text()
    assert f"define CL_NODE_MAX_PAYLOAD {BOARD.max_payload}u" in header
    assert f"define CL_NODE_WINDOW_FRAMES {BOARD.window_frames}u" in header
    assert f"define CL_NODE_RECEIVE_BYTES {BOARD.receive_bytes}u" in header
    definitions = json.loads((BOARDS_FOLDER / "megaatmega2560.json").read_text())["build"]["arduino"][
        "definitions"
    ]
    assert f"SERIAL_RX_BUFFER_SIZE={board('megaatmega2560').receive_bytes}" in definitions
