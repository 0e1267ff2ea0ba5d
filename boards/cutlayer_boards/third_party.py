"""Third-party C for builds outside PlatformIO, by firmware/scripts/third_party.py, which has the hashes."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import PROJECT_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = PROJECT_FOLDER / "build" / "third_party"
MONOCYPHER_FLAGS = (
    "-std=c99",
    "-O2",
    "-w",
    "-DBLAKE2_NO_UNROLLING",
    "-ffunction-sections",
    "-fdata-sections",
)
_SCRIPT = PROJECT_FOLDER / "firmware" / "scripts" / "third_party.py"


def monocypher() -> Path:
    """The folder of monocypher.c and monocypher.h; fetched when it is not there.

    Raises:
        BoardError: It cannot be had.
    """
    spec = importlib.util.spec_from_file_location("cutlayer_third_party", _SCRIPT)
    if spec is None or spec.loader is None or not _SCRIPT.is_file():
        raise BoardError(
            f"{PROJECT_FOLDER} holds no firmware sources", "run this from a checkout of cutlayer"
        )
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / "third_party.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            library: Path = script.ensure(script.MONOCYPHER, FOLDER)
        except script.FetchError as error:
            message, _, hint = str(error).partition("\nnext: ")
            raise BoardError(message, hint or None) from error
    return library


def monocypher_object(compiler: str, *flags: str) -> Path:
    """monocypher.c compiled with `flags` beside MONOCYPHER_FLAGS: without our warnings, so by itself.

    Raises:
        BoardError: It cannot be had, or the compiler does not take it.
    """
    source = monocypher() / "monocypher.c"
    command = [compiler, *MONOCYPHER_FLAGS, *flags]
    digest = hashlib.sha256(repr(command).encode() + source.read_bytes()).hexdigest()
    built = PROJECT_FOLDER / "build" / "line" / f"monocypher-{digest[:16]}.o"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        partial = built.with_suffix(f".{id(digest):x}.partial")
        try:
            subprocess.run(
                [*command, "-c", str(source), "-o", str(partial)], check=True, capture_output=True, text=True
            )
        except FileNotFoundError:
            raise BoardError(f"there is no C compiler ({compiler})", "install gcc") from None
        except subprocess.CalledProcessError as error:
            raise BoardError(f"Monocypher does not compile:\n{error.stderr}") from error
        partial.rename(built)
    return built
