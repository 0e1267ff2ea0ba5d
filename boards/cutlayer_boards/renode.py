"""Boards in Renode: one folder with everything that the emulator reads, and its command line.

Renode's monitor takes paths without spaces, so firmware, recordings and scripts are copied to a folder that
has none in its name.
"""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from cutlayer_boards.errors import BoardError
from cutlayer_boards.recordings import flash_image
from cutlayer_boards.spec import BOARDS_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_boards.build import Firmware
    from cutlayer_boards.spec import BoardSpec

SCRIPTS = BOARDS_FOLDER / "renode"
READY = "cutlayer: the board runs"
FAILED = "There was an error executing command"
QUIT = b"quit\n"
INSTALL = "install Renode 1.16.1 from https://github.com/renode/renode/releases and put `renode` on PATH"


def has_script(board: BoardSpec) -> bool:
    """Whether boards/renode has the board."""
    return (SCRIPTS / f"{board.name}.resc").is_file()


def program() -> str:
    """Renode's program on PATH.

    Raises:
        BoardError: There is none.
    """
    found = shutil.which("renode")
    if found is None:
        raise BoardError("renode is not installed", INSTALL)
    return found


def write_run(
    board: BoardSpec,
    firmware: Firmware,
    microphone: Path | None,
    folder: Path,
    port: int,
    storage: Path | None = None,
) -> Path:
    """Writes all that one run reads into the existing `folder`, and returns the script to include.

    Args:
        board: One with a script in boards/renode.
        firmware: For the board.
        microphone: What it hears, in the flash that it keeps for recordings.
        folder: Without spaces in its path.
        port: The TCP port of the link.
        storage: What lies in the flash that it keeps for its storage when it starts.

    Raises:
        BoardError: Renode has no such board, the recordings do not fit, or the folder's path has spaces.
    """
    if not has_script(board):
        known = ", ".join(sorted(path.stem for path in SCRIPTS.glob("*.resc")))
        raise BoardError(f"there is no Renode script for {board.name}", f"boards/renode has {known}")
    if " " in str(folder):
        raise BoardError(f"Renode takes no spaces in {folder}", "set TMPDIR to a folder without")
    for path in SCRIPTS.glob("*.re*"):
        shutil.copy2(path, folder)
    shutil.copyfile(firmware.path, folder / "firmware.elf")
    lines = [f"$bin=@{folder}/firmware.elf", f"$port={port}", f"include @{folder}/{board.name}.resc"]
    if microphone is not None:
        (folder / "recordings.bin").write_bytes(flash_image(microphone, board))
        lines.append(f"sysbus LoadBinary @{folder}/recordings.bin {board.recordings_origin:#x}")
    if storage is not None:
        lines.append(f"sysbus LoadBinary @{storage} {board.storage_origin:#x}")
    script = folder / "run.resc"
    script.write_text("\n".join([*lines, "start", f'echo "{READY}"']) + "\n")
    return script


def command(renode: str, script: Path) -> list[str]:
    """Renode without a window; its monitor reads stdin, which stays open as long as the board is to run."""
    return [renode, "--disable-gui", "--console", "-p", "-e", f"include @{script}"]


def free_port() -> int:
    """A TCP port of this computer that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    return number
