"""`cutlayer recordings`: images for boards that keep what they hear in their own memory."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutlayer_boards.errors import BoardError
from cutlayer_boards.recordings import recordings
from cutlayer_boards.spec import board, boards

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    path = tmp_path / "in puts.raw"
    path.write_bytes(b"abc")
    path.with_name("in puts.raw.labels").write_bytes(b"\7")
    return path


def run(name: str, microphone: Path, out: Path, *more: str):
    return CliRunner().invoke(
        recordings, ["--board", name, "--microphone", str(microphone), "--out", str(out), *more]
    )


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("megaatmega2560", b"\3\0\1\0"),
        ("stm32f4_discovery", b"\3\0\0\0\1\0\0\0"),
        ("netduinoplus2", b"\3\0\0\0\1\0\0\0"),
        ("nrf52840dk", b"\3\0\0\0\1\0\0\0"),
    ],
)
def test_image_is_written_with_the_command_that_flashes_it(name, header, microphone, tmp_path) -> None:
    out = tmp_path / "image.bin"
    result = run(name, microphone, out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes() == header + b"abc\7"
    words = shlex.split(result.stdout)
    assert words[0] in board(name).apt_packages.split()
    assert str(out) in result.stdout
    assert "$" not in result.stdout
    assert f"{len(header) + 4} of" in result.stderr
    if board(name).recordings_bytes:
        assert f"{board(name).recordings_origin:#010x}" in result.stdout


def test_json_and_the_port(microphone, tmp_path) -> None:
    out = tmp_path / "image.eep"
    made = json.loads(run("megaatmega2560", microphone, out, "--port", "/dev/ttyACM3", "--json").stdout)
    assert made["bytes"] == 8
    assert shlex.split(made["command"])[5:7] == ["-P", "/dev/ttyACM3"]
    assert made["command"].endswith(f"eeprom:w:{out}:r")


def test_board_without_a_place_names_those_with_one(microphone, tmp_path) -> None:
    result = run("nano33ble", microphone, tmp_path / "image.bin")
    assert str(result.exception) == "nano33ble has no memory for recordings"
    assert "megaatmega2560" in result.exception.hint


@pytest.mark.parametrize(
    ("count", "said"), [(0, "is empty"), (4096, "take 4101 bytes, and the EEPROM of megaatmega2560 has 4096")]
)
def test_what_cannot_be_flashed_writes_nothing(count, said, microphone, tmp_path) -> None:
    microphone.write_bytes(bytes(count))
    out = tmp_path / "image.bin"
    out.write_bytes(b"before")
    with pytest.raises(BoardError, match=said):
        raise run("megaatmega2560", microphone, out).exception
    assert out.read_bytes() == b"before"


def test_file_that_cannot_be_written_is_named(microphone, tmp_path) -> None:
    result = run("megaatmega2560", microphone, tmp_path / "nowhere" / "image.bin")
    assert isinstance(result.exception, BoardError)
    assert f"{tmp_path}/nowhere/image.bin cannot be written" in str(result.exception)


def test_every_board_that_keeps_recordings_says_how_they_get_there() -> None:
    for spec in boards():
        assert bool(spec.recordings_command) == bool(spec.eeprom_bytes or spec.recordings_bytes), spec.name
