"""`cutlayer flash`: builds a bundle's firmware with PlatformIO and puts it on a board."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_boards.errors import BoardError
from cutlayer_boards.usb import DIALOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutlayer_boards.spec import BoardSpec
    from cutlayer_boards.usb import Port

_TAIL_LINES = 20
_UPLOAD_FAILED = re.compile(r"\*\*\* \[upload\] Error (\d+)")

_NOT_THERE = (
    r"[Pp]lease specify `?upload_port|[Nn]o device found|could ?n.t (?:open|find)|can.t open device"
    r"|open failed|[Uu]nable to find a matching"
    r"|No DFU capable|No J-Link device found|No accessible RP2040|FileNotFoundError.*tty"
)
# What PlatformIO and the uploaders say, and what to do. The first that matches is told.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (r"HTTPClientError|InternetConnectionError|Could not (?:connect|resolve)|ConnectionError|Max retries",
     "PlatformIO cannot fetch the platform of {board}: its registry cannot be reached",
     "connect to the internet once and run: pio pkg install -e {environment}"),
    (r"UnknownPackageError|UnknownPlatform|Could not find the package",
     "PlatformIO does not find the platform or a library of {board}",
     "pio pkg install -e {environment} says which; see boards/{board}.ini"),
    (r"LIBUSB_ERROR_ACCESS",
     "the USB device of {board} may not be opened",
     "plug it in again for the uploader's udev rules; else: " + DIALOUT.replace("dialout", "plugdev")),
    (r"Permission denied|PermissionError",
     "the port of {board} may not be opened",
     DIALOUT),
    (_NOT_THERE,
     "no {board} is connected",
     "plug it in, press its reset button twice if it has a bootloader, and look: cutlayer devices"),
    (r"(\S+) is not installed|(\S+): (?:command )?not found",
     "a program that {board} is built or flashed with is missing: {line}",
     "sudo apt-get install {apt}"),
    (r"will not fit in region|overflowed by|is greater than maximum allowed",
     "the firmware does not fit {board}: {line}",
     "cut earlier, or take a smaller model"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Upload:
    """One run of PlatformIO.

    Attributes:
        board: What is flashed.
        bundle: The folder that `cutlayer convert` wrote.
        port: The serial port, or None where PlatformIO finds the board by itself.
        command: Arguments, the program first.
    """

    board: BoardSpec
    bundle: Path
    port: str | None
    command: tuple[str, ...]

    def __str__(self) -> str:
        """As a person would type it."""
        words = ("pio", *self.command[self.command.index("run") :])
        return f"CUTLAYER_BUNDLE={shlex.quote(str(self.bundle))} {shlex.join(words)}"


def plan_upload(
    board: BoardSpec, bundle: Path, port: str | None, ports: list[Port], choose: Callable[[list[Port]], str]
) -> Upload:
    """Checks what can be checked before PlatformIO runs.

    Args:
        board: What to flash.
        bundle: The folder that `cutlayer convert` wrote.
        port: The port that the user named, if any.
        ports: The serial ports of this computer.
        choose: Asks which of several ports it is.

    Raises:
        BoardError: The board is an emulated one or not connected, or the bundle does not fit it.
    """
    from cutlayer_boards.spec import BOARDS_FOLDER

    upload = json.loads((BOARDS_FOLDER / f"{board.name}.json").read_text())["upload"]
    if board.emulator is not None and not {"command", "protocol"} & upload.keys():
        raise BoardError(
            f"{board.name} is an emulated board: there is nothing to flash",
            f"cutlayer emulate --board {board.name} --bundle {bundle}",
        )
    check_bundle(board, bundle)
    if port is not None and port.startswith("/") and not Path(port).exists():
        # avrdude waits forever for a port that does not exist
        raise BoardError(f"there is no port {port}", "look at those that there are: cutlayer devices")
    if port is None and "$UPLOAD_PORT" in upload.get("command", "$UPLOAD_PORT"):
        port = _find_port(board, ports, choose)
    command = [*platformio(), "run", "-e", board.environment, "-t", "upload"]
    if port is not None:
        command += ["--upload-port", port]
    return Upload(board, bundle.resolve(), port, tuple(command))


def _find_port(board: BoardSpec, ports: list[Port], choose: Callable[[list[Port]], str]) -> str | None:
    if not board.hwids:
        return None  # PlatformIO knows the board's ids
    found = [port for port in ports if port.hwid in board.hwids]
    if not found:
        others = ", ".join(port.path for port in ports) or "none"
        raise BoardError(
            f"no {board.name} is connected (serial ports: {others})",
            "plug it in; if it is one of these ports, name it: --port PORT",
        )
    return found[0].path if len(found) == 1 else choose(found)


def check_bundle(board: BoardSpec, bundle: Path) -> None:
    """Checks that `bundle` is one that `board` can hold.

    Raises:
        BoardError: It is none, does not fit, or has no head for the board's engine.
    """
    again = f"convert the model again: cutlayer convert MODEL.keras --board {board.environment} ..."
    manifest = _manifest(bundle)
    # Another board's table has its stack and kernels: there the linker says what does not fit.
    lines = manifest.get("memory", []) if manifest.get("board") == board.name else []
    for section, budget in (("ram", board.ram_bytes), ("flash", board.flash_bytes)):
        used = sum(line["bytes"] for line in lines if line["section"] == section)
        if used > budget:
            raise BoardError(
                f"{bundle} takes {used} bytes of {section.upper() if section == 'ram' else section}, and "
                f"{board.name} has {budget}",
                f"cut earlier or take a smaller model, and {again}",
            )
    if board.engine == "tflm" and not (bundle / "firmware" / "tflm").is_dir():
        raise BoardError(f"{bundle} has no head for TensorFlow Lite Micro, which {board.name} runs", again)


def _manifest(bundle: Path) -> dict[str, Any]:
    if not (bundle / "firmware" / "cutlayer_model.c").is_file():
        raise BoardError(
            f"{bundle} is not a bundle: it has no firmware/cutlayer_model.c", "cutlayer convert --help"
        )
    try:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BoardError(f"{bundle}: its manifest.json cannot be read: {error}", "convert again") from error
    if not isinstance(manifest, dict):
        raise BoardError(f"{bundle}: its manifest.json is not a manifest", "convert again")
    return manifest


def platformio() -> list[str]:
    """PlatformIO as a command: `pio` on PATH, else the one that is installed with cutlayer."""
    found = shutil.which("pio")
    return [found] if found else [sys.executable, "-m", "platformio"]


def run_upload(upload: Upload, say: Callable[[str], None]) -> None:
    """Runs PlatformIO; `say` gets its lines as they come.

    Raises:
        BoardError: It failed; what to do, where that is known.
    """
    from cutlayer_boards.build import locked
    from cutlayer_boards.spec import PROJECT_FOLDER

    lines: list[str] = []
    with locked(PROJECT_FOLDER / "build" / "pio.lock"):
        process = subprocess.Popen(
            upload.command,
            cwd=PROJECT_FOLDER,
            env={**os.environ, "CUTLAYER_BUNDLE": str(upload.bundle)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                say(lines[-1])
    if process.returncode != 0:
        raise upload_error(upload, lines)


def upload_error(upload: Upload, lines: list[str]) -> BoardError:
    """What PlatformIO's last words mean."""
    board = upload.board
    if own := _own_error(lines):
        return own
    for pattern, message, hint in _CAUSES:
        line = next((line.strip() for line in lines if re.search(pattern, line)), None)
        if line is not None:
            names = {"board": board.name, "environment": board.environment, "line": line}
            return BoardError(message.format(**names), hint.format(**names, apt=board.apt_packages or "..."))
    failed = next((found for line in lines if (found := _UPLOAD_FAILED.search(line))), None)
    if failed is not None:
        return BoardError(
            f"{board.name} was not flashed, its uploader ended with code {failed[1]}:\n"
            + "\n".join(lines[-_TAIL_LINES:]),
            "the board may hold half a firmware: reset it, check cable and power, and flash it again",
        )
    return BoardError(
        f"PlatformIO could not flash {board.name}:\n" + "\n".join(lines[-_TAIL_LINES:]),
        f"all of it: {upload} -v",
    )


def _own_error(lines: list[str]) -> BoardError | None:
    """What the project's own build scripts say: a line "error: ..." and, soon, one "next: ...".

    PlatformIO may print a line of another pipe between the two.
    """
    said = iter(lines)
    error = next((line for line in said if line.startswith("error: ")), None)
    if error is None:
        return None
    hint = next((line.removeprefix("next: ") for line in said if line.startswith("next: ")), None)
    return BoardError(error.removeprefix("error: "), hint)


@click.command()
@click.argument("board_name", metavar="BOARD")
@click.option(
    "--bundle",
    default=Path("build/bundle"),
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that `cutlayer convert` wrote.",
)
@click.option("--port", metavar="PORT", help="Serial port; asked for only when several could be the board.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when the board is flashed.")
def flash(board_name: str, bundle: Path, port: str | None, as_json: bool) -> None:
    """Build a bundle's firmware for BOARD and put it on the board.

    Runs PlatformIO, and prints the command.
    """
    from cutlayer_boards.console import print_json
    from cutlayer_boards.spec import board
    from cutlayer_boards.usb import serial_ports

    upload = plan_upload(board(board_name), bundle, port, serial_ports(), _ask)
    click.echo(str(upload), err=True)
    run_upload(upload, lambda line: click.echo(line, err=True))
    if as_json:
        print_json({"board": board_name, "bundle": str(bundle), "port": upload.port, "command": str(upload)})
    else:
        click.echo(f"{board_name} runs the bundle in {bundle}; find it: cutlayer devices", err=True)


def _ask(found: list[Port]) -> str:
    names = [port.path for port in found]
    if not sys.stdin.isatty():
        raise BoardError(f"several boards are connected: {', '.join(names)}", f"--port {names[0]}")
    for port in found:
        click.echo(f"  {port.path}  {port.title}", err=True)
    answer: str = click.prompt("port", type=click.Choice(names), default=names[0], err=True)
    return answer
