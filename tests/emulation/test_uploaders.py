"""`cutlayer flash` with a real PlatformIO, and uploaders that note what they are given."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from elftools.elf.elffile import ELFFile

from cutlayer_boards.errors import BoardError
from cutlayer_boards.flash import flash
from cutlayer_boards.recordings import recordings
from cutlayer_boards.spec import board
from cutlayer_boards.usb import Port

MEGA = Port("/dev/ttyACM7", "Arduino Mega", (0x2341, 0x0042))
UPLOADERS = ("avrdude", "dfu-util", "openocd")
OPENOCD = ["-c", "program FIRMWARE verify reset exit"]
# What each board's uploader is to be given, and what the file is.
GIVEN = {
    "megaatmega2560": (
        "avrdude",
        "EM_AVR",
        [
            *("-p", "atmega2560", "-c", "wiring", "-P", MEGA.path, "-b", "115200", "-D"),
            *("-U", "flash:w:FIRMWARE:e"),
        ],
    ),
    "netduinoplus2": (
        "dfu-util",
        None,
        ["-d", "0483:df11", "-a", "0", "-s", "0x08000000:leave", "-D", "FIRMWARE"],
    ),
    "stm32f4_discovery": ("openocd", "EM_ARM", ["-f", "board/stm32f4discovery.cfg", *OPENOCD]),
    "nrf52840dk": ("openocd", "EM_ARM", ["-f", "board/nordic_nrf52_dk.cfg", *OPENOCD]),
    "microbit": ("openocd", "EM_ARM", ["-f", "interface/cmsis-dap.cfg", "-f", "target/nrf51.cfg", *OPENOCD]),
    "lm3s6965evb": ("openocd", "EM_ARM", ["-f", "board/ek-lm3s6965.cfg", *OPENOCD]),
}
NOTE = """#!/bin/sh
cd "{project}"
printf '%s\\n' "$@" > "{folder}/given"
for word in $(echo "$@" | tr ':"' '  '); do
    case $word in *firmware.*) cp "$word" "{folder}/firmware"; echo "$word" > "{folder}/name" ;; esac
done
echo "{name} says something"
exit {code}
"""


@pytest.fixture(scope="module")
def all_but_uploaders(tmp_path_factory) -> Path:
    """A folder with all programs of PATH but the uploaders."""
    folder = tmp_path_factory.mktemp("programs")
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            link = folder / program.name
            if program.name not in UPLOADERS and not link.is_symlink():
                link.symlink_to(program)
    return folder


@pytest.fixture
def path_without_uploaders(all_but_uploaders, tmp_path, monkeypatch) -> Path:
    """PATH becomes those programs, and a folder for more, which this returns."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{all_but_uploaders}")
    monkeypatch.setattr("cutlayer_boards.usb.serial_ports", lambda: [MEGA])
    return folder


def put_uploader(folder: Path, name: str, code: int = 0) -> Path:
    """An uploader that copies its firmware to the folder it returns, beside the words it was given."""
    from cutlayer_boards.spec import PROJECT_FOLDER

    noted = folder.with_name("noted")
    noted.mkdir()
    program = folder / name
    program.write_text(NOTE.format(project=PROJECT_FOLDER, folder=noted, name=name, code=code))
    program.chmod(0o755)
    return noted


def run(name: str, bundle: Path):
    return CliRunner().invoke(flash, [name, "--bundle", str(bundle)])


@pytest.mark.parametrize("name", GIVEN)
def test_uploader_gets_the_firmware_in_its_format(name, path_without_uploaders, tiny_bundle) -> None:
    uploader, machine, words = GIVEN[name]
    noted = put_uploader(path_without_uploaders, uploader)
    result = run(name, tiny_bundle)
    assert result.exit_code == 0, (result.output, result.exception)
    firmware_name = (noted / "name").read_text().strip()
    given = (noted / "given").read_text().replace('"', "").replace(firmware_name, "FIRMWARE")
    assert given.splitlines() == words
    spec, firmware = board(name), noted / "firmware"
    if machine is None:
        stack, reset = struct.unpack_from("<II", firmware.read_bytes())
        assert stack == 0x20000000 + spec.stack_bytes  # it lies below .data
        assert reset % 2 == 1
        assert 0x08000000 < reset < 0x08000000 + firmware.stat().st_size <= 0x08000000 + spec.flash_bytes
    else:
        with firmware.open("rb") as file:
            assert ELFFile(file)["e_machine"] == machine
    assert f"{uploader} says something" in result.stderr


@pytest.mark.usefixtures("path_without_uploaders")
@pytest.mark.parametrize("name", GIVEN)
def test_missing_uploader_is_named_before_anything_is_built(name, tiny_bundle) -> None:
    uploader = GIVEN[name][0]
    result = run(name, tiny_bundle)
    assert isinstance(result.exception, BoardError)
    assert str(result.exception) == f"{uploader}, which flashes {name}, is not installed"
    assert result.exception.hint == f"sudo apt-get install {uploader}"
    assert "Compiling" not in result.stderr
    assert uploader in board(name).apt_packages.split()


def test_uploader_that_fails_is_said_with_its_words(path_without_uploaders, tiny_bundle) -> None:
    put_uploader(path_without_uploaders, "avrdude", code=1)
    result = run("megaatmega2560", tiny_bundle)
    assert isinstance(result.exception, BoardError)
    assert "megaatmega2560 was not flashed, its uploader ended with code 1:" in str(result.exception)
    assert "avrdude says something" in str(result.exception)
    assert result.exception.hint.endswith("flash it again")


@pytest.mark.parametrize("name", [name for name in GIVEN if GIVEN[name][0] != "avrdude"])
def test_real_uploader_reads_its_options_and_finds_no_board(name, tiny_bundle) -> None:
    if not shutil.which(GIVEN[name][0]):
        pytest.skip(f"{GIVEN[name][0]} is not installed")
    result = run(name, tiny_bundle)
    assert str(result.exception) == f"no {name} is connected"


@pytest.mark.parametrize("name", [name for name in GIVEN if GIVEN[name][0] != "avrdude"])
def test_real_uploader_reads_the_command_for_recordings(name, tiny_microphone, tmp_path) -> None:
    uploader = GIVEN[name][0]
    if not shutil.which(uploader):
        pytest.skip(f"{uploader} is not installed")
    image = tmp_path / "an image.bin"
    made = CliRunner().invoke(
        recordings, ["--board", name, "--microphone", str(tiny_microphone), "--out", str(image)]
    )
    assert made.exit_code == 0, made.output
    command = shlex.split(made.stdout)
    assert command[0] == uploader
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert said.returncode != 0
    assert any(
        words in said.stderr
        for words in (
            "open failed",
            "no device found",
            "matching CMSIS-DAP",
            "No J-Link device found",
            "No DFU capable USB device",
        )
    )
