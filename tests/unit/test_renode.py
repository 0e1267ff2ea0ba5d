"""What Renode is given, and a stand-in for it. tests/emulation/test_renode.py runs the scripts."""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

import pytest

from cutlayer_boards import renode
from cutlayer_boards.build import Firmware
from cutlayer_boards.emulator import emulate
from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import PROJECT_FOLDER, board

DISCOVERY = board("stm32f4_discovery")


@pytest.fixture
def firmware(tmp_path: Path) -> Firmware:
    path = tmp_path / "built here" / "firmware.elf"
    path.parent.mkdir()
    path.write_bytes(b"ELF")
    return Firmware(path=path, ram_bytes_static=0, flash_bytes=0, sections={})


@pytest.fixture
def fake_renode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `renode` on PATH; the test writes what it does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "renode"
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return program


def write(program: Path, body: str) -> None:
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_run_has_everything_in_one_folder_without_spaces(firmware: Firmware, tmp_path: Path) -> None:
    microphone = tmp_path / "a microphone"
    microphone.write_bytes(bytes(range(10)))
    microphone.with_name("a microphone.labels").write_bytes(b"\x01\x02")
    folder = tmp_path / "run"
    folder.mkdir()
    script = renode.write_run(DISCOVERY, firmware, microphone, folder, 4321)
    lines = script.read_text().splitlines()
    assert lines == [
        f"$bin=@{folder}/firmware.elf",
        "$port=4321",
        f"include @{folder}/stm32f4_discovery.resc",
        f"sysbus LoadBinary @{folder}/recordings.bin 0x8080000",
        "start",
        f'echo "{renode.READY}"',
    ]
    assert (folder / "firmware.elf").read_bytes() == b"ELF"
    assert (folder / "recordings.bin").read_bytes() == struct.pack("<II", 10, 2) + bytes(
        range(10)
    ) + b"\x01\x02"
    assert (folder / "stm32f4_discovery.repl").is_file()


def test_without_microphone_nothing_is_flashed_beside_the_firmware(
    firmware: Firmware, tmp_path: Path
) -> None:
    assert "LoadBinary" not in renode.write_run(DISCOVERY, firmware, None, tmp_path, 1).read_text()


def test_key_lies_in_the_flash_of_the_storage(firmware: Firmware, tmp_path: Path) -> None:
    script = renode.write_run(board("nrf52840dk"), firmware, None, tmp_path, 1, tmp_path / "storage")
    assert f"sysbus LoadBinary @{tmp_path}/storage 0x60000" in script.read_text().splitlines()


def test_board_without_a_script(firmware: Firmware, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="no Renode script for native") as raised:
        renode.write_run(board("native"), firmware, None, tmp_path, 1)
    assert raised.value.hint == "boards/renode has nrf52840dk, stm32f4_discovery"


def test_folder_with_spaces(firmware: Firmware, tmp_path: Path) -> None:
    folder = tmp_path / "my temporary files"
    folder.mkdir()
    with pytest.raises(BoardError, match="takes no spaces"):
        renode.write_run(DISCOVERY, firmware, None, folder, 1)


def test_renode_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BoardError, match="renode is not installed") as raised:
        renode.program()
    assert "github.com/renode/renode/releases" in str(raised.value.hint)


def test_command_has_no_window() -> None:
    assert renode.command("/opt/renode", Path("/tmp/x/run.resc")) == [
        "/opt/renode", "--disable-gui", "--console", "-p", "-e", "include @/tmp/x/run.resc"
    ]  # fmt: skip


def test_free_port_can_be_listened_at() -> None:
    with socket.create_server(("127.0.0.1", renode.free_port())):
        pass


@pytest.mark.parametrize(("name", "uart"), [("stm32f4_discovery", "usart2"), ("nrf52840dk", "uart0")])
def test_scripts_connect_one_uart_without_telnet(name: str, uart: str) -> None:
    text = (renode.SCRIPTS / f"{name}.resc").read_text()
    assert re.findall(r"^emulation CreateServerSocketTerminal (.*)$", text, re.M) == ['$port "link" false']
    assert re.findall(r"^connector Connect (.*)$", text, re.M) == [f"sysbus.{uart} link"]


def test_every_script_is_booted_by_robot_and_workflow() -> None:
    scripts = {path.stem for path in renode.SCRIPTS.glob("*.resc")}
    robot = (renode.SCRIPTS / "boards.robot").read_text()
    assert set(re.findall(r"^    Should Greet A Host    (\w+)$", robot, re.M)) == scripts
    workflow = (PROJECT_FOLDER / ".github" / "workflows" / "ci.yml").read_text()
    built = re.search(r"for board in (.*); do", workflow)
    assert built
    assert set(built[1].split()) == scripts


async def test_emulate_waits_until_the_script_is_done_and_ends_renode(fake_renode, firmware) -> None:
    write(fake_renode, f'echo "$@"; echo "(monitor) {renode.READY}"; exec cat')
    async with emulate(DISCOVERY, firmware, in_renode=True) as node:
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", node.url)
        assert node.log[0].startswith("--disable-gui --console -p -e include @")
        assert node.running
    assert not node.running


async def test_no_live_microphone_in_renode(firmware, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="stm32f4_discovery has no live microphone"):
        async with emulate(DISCOVERY, firmware, live=tmp_path / "live.pcm", in_renode=True):
            pass


async def test_renode_that_ends_is_quoted(fake_renode, firmware) -> None:
    write(fake_renode, "echo 'Could not find file'; exit 1")
    with pytest.raises(BoardError, match=r"Renode does not start the board: Could not find file"):
        async with emulate(DISCOVERY, firmware, in_renode=True):
            pass


async def test_renode_whose_script_fails_says_why_and_is_ended(fake_renode, firmware) -> None:
    write(fake_renode, f"echo '{renode.FAILED}'; echo 'No such file'; read next; echo \"$next now\"; exit 1")
    with pytest.raises(BoardError, match=f"{renode.FAILED}.*\nNo such file\nquit now$"):
        async with emulate(DISCOVERY, firmware, in_renode=True):
            pass


async def test_error_in_the_block_comes_through_as_it_is(fake_renode, firmware) -> None:
    write(fake_renode, f'echo "{renode.READY}"; exec cat')
    with pytest.raises(ValueError, match="mine"):
        async with emulate(DISCOVERY, firmware, in_renode=True):
            raise ValueError("mine")
