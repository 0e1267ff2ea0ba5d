"""Every emulated board against the native process, to the bit: the head, and 20 steps of SGD and of Adam.

`make test-boards` runs just this and prints a line a board.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from emulation_host import configure_adam, configure_sgd, lesson, read_all, train

from cutlayer_boards.emulator import emulate
from cutlayer_boards.spec import BOARDS_FOLDER, BoardSpec, board, boards
from cutlayer_host.opening import connect

if TYPE_CHECKING:
    from pathlib import Path

RECORDINGS = 16
STEPS = lesson(steps=20, batch=2, recordings=RECORDINGS)
EMULATED = [spec.name for spec in boards() if spec.emulator not in {None, "native"}]
OPTIMIZERS = {"SGD": (configure_sgd, 5), "Adam": (configure_adam, 6)}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a board has come to: smashed data, the trained layer's sections, CRC-32 of its weights."""

    smashed: bytes
    sections: dict[str, dict[str, bytes]]
    weights_crc: dict[str, int]


def core(spec: BoardSpec) -> str:
    flags = json.loads((BOARDS_FOLDER / f"{spec.name}.json").read_text())["build"]["machine_flags"]
    return next(flag.partition("=")[2] for flag in flags if flag.startswith(("-mcpu=", "-mmcu=")))


def symbols(elf: Path) -> set[str]:
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name for symbol in table.iter_symbols()}


async def taught(spec: BoardSpec, firmware, microphone) -> Lesson:
    sections, weights_crc = {}, {}
    async with emulate(spec, firmware, microphone) as node, connect(node.url, key=node.key) as device:
        await device.configure(configure_adam(cut=2))
        smashed = [(await device.sample(i, i, train=False)).values for i in range(RECORDINGS)]
        for name, (configure, count) in OPTIMIZERS.items():
            await device.configure(configure(cut=2))
            weights_crc[name] = await train(device, STEPS)
            sections[name] = await read_all(device, count)
    return Lesson(np.stack(smashed).tobytes(), sections, weights_crc)


@pytest.fixture(scope="module")
def native_lesson(build, tiny_bundle, tiny_microphone) -> Lesson:
    spec = board("native")
    found = asyncio.run(taught(spec, build(spec, tiny_bundle), tiny_microphone))
    assert found.weights_crc["SGD"] != found.weights_crc["Adam"]
    return found


def own_kernels(spec: BoardSpec) -> list[str]:
    """Of what the converter has chosen for the board's processor, what this test is to see run."""
    ending = {"armv7e-m": "armv7em", "long-multiply": "long"}.get(spec.instruction_set)
    return [f"cl_conv2d_{ending}", f"cl_depthwise_{ending}"] if ending else []


@pytest.mark.qemu
@pytest.mark.parametrize("name", EMULATED)
def test_board_equals_native(
    name, build, tiny_bundle, tiny_microphone, native_lesson, record_property
) -> None:
    spec = board(name)
    firmware = build(spec, tiny_bundle)
    assert set(own_kernels(spec)) <= symbols(firmware.path)
    found = asyncio.run(taught(spec, firmware, tiny_microphone))
    crcs = "  ".join(f"{optimizer} {crc:08x}" for optimizer, crc in found.weights_crc.items())
    verdict = "equal to native" if found == native_lesson else "DIFFERS FROM NATIVE"
    said = f"{name:18} {core(spec):10}  {len(STEPS)} steps each, weights {crcs}  {verdict}"
    record_property("board", said)
    assert found.smashed == native_lesson.smashed
    for optimizer, expected in native_lesson.sections.items():
        for section, content in expected.items():
            assert found.sections[optimizer][section] == content, (optimizer, section)
    assert found.weights_crc == native_lesson.weights_crc
