"""The Arduino Mega 2560: 8 KB of RAM, 4 KB of EEPROM for recordings, and a simulator that is built here."""

from __future__ import annotations

import re
import shutil
import struct
from dataclasses import replace

import pytest
from emulation_host import configure_adam, lesson, train

from cutlayer_boards import simavr
from cutlayer_boards.build import build_firmware
from cutlayer_boards.emulator import emulate
from cutlayer_boards.errors import BoardError
from cutlayer_boards.recordings import eeprom_image
from cutlayer_boards.spec import BoardSpec, board
from cutlayer_converter.arena import plan
from cutlayer_converter.graph import read_graph
from cutlayer_converter.memory import memory_table
from cutlayer_converter.trainable import TrainableSpec, find_trainable
from cutlayer_host.opening import connect

pytestmark = pytest.mark.simavr
STATIC_LESS_THAN_TABLE = 512


@pytest.fixture(scope="module")
def mega() -> BoardSpec:
    return board("megaatmega2560")


def test_ram_is_at_most_what_the_converters_table_says(mega, build, tiny_bundle):
    head = plan(read_graph((tiny_bundle / "head.tflite").read_bytes()))
    trainable = find_trainable(head, "adam")
    assert isinstance(trainable, TrainableSpec)
    lines = memory_table(head, trainable, mega)
    said = sum(line.bytes for line in lines if line.section == "ram")
    flash = sum(line.bytes for line in lines if line.section == "flash")
    firmware = build(mega, tiny_bundle)
    used = firmware.ram_bytes_static + mega.stack_bytes
    assert used <= said <= used + STATIC_LESS_THAN_TABLE, lines
    assert said <= mega.ram_bytes
    assert firmware.flash_bytes <= flash <= mega.flash_bytes


async def test_stack_stays_within_its_share(mega, build, tiny_bundle, tiny_microphone):
    async with (
        emulate(mega, build(mega, tiny_bundle), tiny_microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        await device.configure(configure_adam(cut=2))
        await train(device, lesson(steps=3, batch=2, recordings=16))
        stats = await device.stats()
    assert 100 < stats["stack_bytes"] < mega.stack_bytes * 0.8
    # Nothing was lost on a UART of 500,000 Bd, and none of 331 bytes of credit was wrong.
    assert stats["frames_malformed"] == stats["frames_sent_again"] == 0


def test_what_does_not_fit_is_said(mega, tiny_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    source = bundle / "firmware" / "cutlayer_model.h"
    grown = re.sub(r"MODEL_ARENA_BYTES \d+", "MODEL_ARENA_BYTES 6000", source.read_text())
    assert grown != source.read_text()
    source.write_text(grown)
    with pytest.raises(BoardError, match=r"does not fit megaatmega2560 \(8192 bytes.*not within region"):
        build_firmware(mega, bundle)


def test_a_head_that_hears_is_refused(mega, listener_bundle):
    with pytest.raises(BoardError, match="a head that hears, and megaatmega2560 has no room"):
        build_firmware(mega, listener_bundle)


def test_eeprom_holds_header_recordings_and_labels(mega, tiny_inputs, tiny_microphone):
    image = eeprom_image(tiny_microphone, mega)
    assert struct.unpack_from("<HH", image) == (tiny_inputs.size, 13)
    assert image[4:] == tiny_inputs.tobytes() + bytes(255 if i == 5 else i for i in range(13))


async def test_recordings_beyond_the_eeprom_are_said(mega, build, tiny_bundle, tmp_path):
    microphone = tmp_path / "long"
    microphone.write_bytes(bytes(4093))
    with pytest.raises(BoardError, match="take 4097 bytes, and the EEPROM of megaatmega2560 has 4096"):
        await emulate(mega, build(mega, tiny_bundle), microphone).__aenter__()


async def test_a_full_eeprom_works(mega, build, tiny_bundle, tmp_path):
    microphone = tmp_path / "full"
    microphone.write_bytes(bytes(4092))
    async with (
        emulate(mega, build(mega, tiny_bundle), microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        assert device.welcome.recordings == 4092 // 120
        await device.configure(configure_adam(cut=1))
        assert (await device.sample(1, 33, train=False)).label == -1


def test_a_simulator_that_does_not_build_says_what_to_install(mega, monkeypatch, tmp_path):
    broken = tmp_path / "runner.c"
    broken.write_text("#include <simavr/not_there.h>\n")
    monkeypatch.setattr(simavr, "SOURCE", broken)
    with pytest.raises(BoardError, match="not_there") as raised:
        simavr.runner(mega, tmp_path)
    assert raised.value.hint is not None
    assert "libsimavr-dev" in raised.value.hint
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BoardError, match="gcc is not installed"):
        simavr.runner(mega, tmp_path)
    assert not list((tmp_path / "simavr").iterdir())


async def test_an_unknown_machine_is_said_by_the_simulator(mega, build, tiny_bundle):
    firmware = build(mega, tiny_bundle)
    async with emulate(replace(mega, machine="atmega9999"), firmware) as node:
        await node.process.wait()
        assert node.process.returncode == 1
    assert "error: simavr does not know the machine" in node.log
