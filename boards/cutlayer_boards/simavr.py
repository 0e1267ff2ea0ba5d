"""AVR boards in simavr: our own program around its library, built when it is first needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import BOARDS_FOLDER, PROJECT_FOLDER

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec

SOURCE = BOARDS_FOLDER / "simavr" / "runner.c"

_FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
_LIBRARIES = ("-lsimavr", "-lelf")


def runner(board: BoardSpec, build_dir: Path = PROJECT_FOLDER / "build") -> Path:
    """The program that runs a firmware in simavr: `runner MACHINE CLOCK_HZ ELF EEPROM LISTENING_FD`.

    Raises:
        BoardError: There is no gcc, or no simavr.
    """
    digest = hashlib.sha256(repr((_FLAGS, _LIBRARIES)).encode() + SOURCE.read_bytes())
    program = build_dir / "simavr" / f"runner-{digest.hexdigest()[:16]}"
    if program.is_file():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    gcc = shutil.which("gcc")
    with tempfile.TemporaryDirectory(dir=program.parent) as name:
        partial = Path(name) / "runner"
        command = [gcc or "gcc", *_FLAGS, "-o", str(partial), str(SOURCE), *_LIBRARIES]
        result = subprocess.run(command, capture_output=True, text=True, check=False) if gcc else None
        if result is None or result.returncode != 0:
            said = "gcc is not installed" if result is None else result.stderr.strip()
            raise BoardError(
                f"the simulator of {board.name} does not build: {said}",
                f"sudo apt-get install build-essential {board.apt_packages}",
            )
        partial.rename(program)
    return program
