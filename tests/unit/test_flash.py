"""`cutlayer flash` with a PlatformIO that is a script."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cutlayer_boards import flash as flashing
from cutlayer_boards.errors import BoardError
from cutlayer_boards.flash import check_bundle, flash, plan_upload
from cutlayer_boards.spec import board
from cutlayer_boards.usb import Port, boards_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MEGA = Port("/dev/ttyACM0", "Arduino Mega", (0x2341, 0x0042))
CLONE = Port("/dev/ttyACM1", "Arduino Mega clone", (0x2A03, 0x0042))
OTHER = Port("/dev/ttyUSB0", "USB to serial", (0x1A86, 0x7523))
BUILTIN = Port("/dev/ttyS0", "", None)


def make_bundle(folder: Path, **fields: Any) -> Path:
    (folder / "firmware").mkdir(parents=True)
    (folder / "firmware" / "cutlayer_model.c").write_text("")
    memory = [
        {"name": "arena", "section": "ram", "bytes": 4000},
        {"name": "code", "section": "flash", "bytes": 5000},
    ]
    manifest = {"board": "megaatmega2560", "memory": memory, **fields}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "a bundle")


@pytest.fixture
def fake_pio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Path]:
    """Puts a `pio` on PATH that prints `output`, writes what it was given to a file, and ends with `code`."""

    def make(output: str = "", code: int = 0) -> Path:
        folder, given = tmp_path / "bin", tmp_path / "given"
        folder.mkdir()
        (folder / "output").write_text(output)
        program = folder / "pio"
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$CUTLAYER_BUNDLE" "$@" > "{given}"\n'
            f'cat "{folder / "output"}"\nexit {code}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        # The lock of the project's own builds is not ours to wait for.
        monkeypatch.setattr("cutlayer_boards.spec.PROJECT_FOLDER", tmp_path)
        return given

    return make


def plan(bundle: Path, ports: list[Port], name: str = "megaatmega2560", port: str | None = None) -> Any:
    def never(found: list[Port]) -> str:
        raise AssertionError(f"asked which of {found}")

    return plan_upload(board(name), bundle, port, ports, never)


def run(bundle: Path, ports: list[Port], monkeypatch: pytest.MonkeyPatch, *more: str) -> Any:
    monkeypatch.setattr("cutlayer_boards.usb.serial_ports", lambda: ports)
    return CliRunner().invoke(flash, ["megaatmega2560", "--bundle", str(bundle), *more])


def test_pio_is_given_the_environment_the_bundle_and_the_port(fake_pio, bundle, monkeypatch) -> None:
    given = fake_pio("Uploading\ndone\n")
    result = run(bundle, [OTHER, MEGA], monkeypatch, "--json")
    assert result.exit_code == 0, result.output
    words = ["run", "-e", "megaatmega2560", "-t", "upload", "--upload-port", "/dev/ttyACM0"]
    assert given.read_text().splitlines() == [str(bundle), *words]
    assert f"CUTLAYER_BUNDLE='{bundle}' pio {' '.join(words)}" in result.stderr.splitlines()[0]
    assert "Uploading\ndone\n" in result.stderr
    assert json.loads(result.stdout)["port"] == "/dev/ttyACM0"


def test_named_port_is_taken_whatever_is_there(fake_pio, bundle, monkeypatch, tmp_path) -> None:
    given, port = fake_pio(), tmp_path / "ttyS0"
    refused = run(bundle, [MEGA, CLONE], monkeypatch, "--port", str(port))
    assert str(refused.exception) == f"there is no port {port}"
    assert not given.exists()
    port.touch()
    assert run(bundle, [MEGA, CLONE], monkeypatch, "--port", str(port)).exit_code == 0
    assert given.read_text().splitlines()[-1] == str(port)


def test_port_is_asked_for_when_several_could_be_the_board(bundle) -> None:
    asked: list[list[Port]] = []

    def choose(found: list[Port]) -> str:
        asked.append(found)
        return found[1].path

    upload = plan_upload(board("megaatmega2560"), bundle, None, [MEGA, OTHER, CLONE, BUILTIN], choose)
    assert asked == [[MEGA, CLONE]]
    assert upload.port == CLONE.path


def test_without_a_terminal_several_boards_are_an_error_that_names_the_option(bundle, monkeypatch) -> None:
    result = run(bundle, [MEGA, CLONE], monkeypatch)
    assert isinstance(result.exception, BoardError)
    assert "/dev/ttyACM0, /dev/ttyACM1" in str(result.exception)
    assert result.exception.hint == "--port /dev/ttyACM0"


@pytest.mark.parametrize("ports", [[], [OTHER, BUILTIN]])
def test_no_board_is_an_error_before_anything_is_built(fake_pio, bundle, ports, monkeypatch) -> None:
    given = fake_pio()
    result = run(bundle, ports, monkeypatch)
    assert str(result.exception).startswith("no megaatmega2560 is connected")
    assert not given.exists()


def test_board_that_a_debugger_flashes_needs_no_port(bundle) -> None:
    assert plan(bundle, [MEGA, CLONE], "stm32f4_discovery").port is None


def test_emulated_board_is_not_flashed(bundle) -> None:
    with pytest.raises(BoardError, match="qemu_mps2_an386 is an emulated board") as raised:
        plan(bundle, [], "qemu_mps2_an386")
    assert raised.value.hint == f"cutlayer emulate --board qemu_mps2_an386 --bundle {bundle}"


def test_bundle_that_is_none(tmp_path) -> None:
    with pytest.raises(BoardError, match="is not a bundle"):
        check_bundle(board("megaatmega2560"), tmp_path)
    make_bundle(tmp_path / "b").joinpath("manifest.json").write_text("{")
    with pytest.raises(BoardError, match=r"its manifest\.json cannot be read"):
        check_bundle(board("megaatmega2560"), tmp_path / "b")


@pytest.mark.parametrize(
    ("section", "said"), [("ram", "20000 bytes of RAM"), ("flash", "9000000 bytes of flash")]
)
def test_bundle_that_does_not_fit(tmp_path, section, said) -> None:
    size = int(said.split()[0])
    folder = make_bundle(tmp_path / "big", memory=[{"name": "x", "section": section, "bytes": size}])
    with pytest.raises(BoardError, match=f"takes {said}, and megaatmega2560 has"):
        check_bundle(board("megaatmega2560"), folder)


def test_bundle_converted_for_another_board(tmp_path) -> None:
    memory = [{"name": "stack", "section": "ram", "bytes": 65536}]
    folder = make_bundle(tmp_path / "arm", board="stm32f4_discovery", memory=memory)
    check_bundle(board("megaatmega2560"), folder)
    check_bundle(board("netduinoplus2"), folder)


def test_bundle_without_the_boards_engine(bundle) -> None:
    tflm = replace(board("megaatmega2560"), engine="tflm")
    with pytest.raises(BoardError, match="no head for TensorFlow Lite Micro"):
        check_bundle(tflm, bundle)
    (bundle / "firmware" / "tflm").mkdir()
    check_bundle(tflm, bundle)


@pytest.mark.parametrize(
    ("output", "message", "hint"),
    [
        ("HTTPClientError: \n", "its registry cannot be reached", "pio pkg install -e megaatmega2560"),
        (
            "UnknownPackageError: Could not find the package\n",
            "does not find the platform",
            "pio pkg install",
        ),
        (
            "avrdude: ser_open(): can't open device: Permission denied\n",
            "may not be opened",
            "usermod -aG dialout",
        ),
        ("Error: Please specify `upload_port`\n", "no megaatmega2560 is connected", "cutlayer devices"),
        ("Error: open failed\n", "no megaatmega2560 is connected", "cutlayer devices"),
        ("sh: 1: avrdude: not found\n", "missing: sh: 1: avrdude: not found", "sudo apt-get install"),
        ("error: avrdude is gone\nnext: fetch it\n", "avrdude is gone", "fetch it"),
        ("error: avrdude is gone\nCompiling of two\nnext: fetch it\n", "avrdude is gone", "fetch it"),
        ("LIBUSB_ERROR_ACCESS\n", "USB device of megaatmega2560 may not be", "usermod -aG plugdev"),
        ("*** [upload] Error 7\n", "its uploader ended with code 7", "flash it again"),
        ("ld: region `RAM' overflowed by 80 bytes\n", "does not fit megaatmega2560", "cut earlier"),
        (
            "something new\n",
            "could not flash megaatmega2560:\nProcessing megaatmega2560\nsomething new",
            "-t upload",
        ),
    ],
)
def test_what_pio_says_becomes_a_next_step(fake_pio, bundle, monkeypatch, output, message, hint) -> None:
    fake_pio("Processing megaatmega2560\n" + output, 1)
    result = run(bundle, [MEGA], monkeypatch)
    assert isinstance(result.exception, BoardError)
    assert message in str(result.exception)
    assert hint in str(result.exception.hint)


def test_platformio_of_the_environment_is_used_when_none_is_on_path(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert flashing.platformio()[1:] == ["-m", "platformio"]


def test_boards_are_found_by_their_ids() -> None:
    assert [spec.name for spec in boards_with((0x2341, 0x0042))] == ["megaatmega2560"]
    assert boards_with((1, 2)) == []
    assert boards_with(None) == []


def test_port_that_may_not_be_opened(tmp_path, monkeypatch) -> None:
    path = tmp_path / "ttyACM0"
    path.touch()
    assert Port(str(path), "", None).is_ours
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not Port(str(path), "", None).is_ours
    assert Port("COM3", "", None).is_ours
