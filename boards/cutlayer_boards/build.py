"""Firmware from a bundle, by PlatformIO, and how much of the board it takes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import PROJECT_FOLDER, BoardSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

Sensor = Literal["audio", "recorded"]

_SOURCES = ("platformio.ini", "boards/*.json", "boards/*.ini", "boards/platform/**/*", "firmware/**/*")
_SOURCE_SUFFIXES = {".c", ".h", ".cc", ".cpp", ".ld", ".ini", ".json", ".py", ""}
_OWN_SETTINGS = {"CUTLAYER_SENSOR", "CUTLAYER_INSECURE"}
_MESSAGE_LINES = 30
# What linkers say of a region that is too small; the AVR's is of 2016.
_OVERFLOWS = ("overflowed by", "will not fit in region", "is not within region")
_MESSAGE_COLUMNS = 240

# Flags of an ELF section (System V ABI, SHF_*).
_WRITE, _ALLOC = 0x1, 0x2


@dataclass(frozen=True, slots=True)
class Firmware:
    """A firmware that is built.

    Attributes:
        path: The ELF file.
        ram_bytes_static: .data, .bss and the stack's share: all RAM that it will ever use.
        flash_bytes: Code, constants and the initial values of .data.
        sections: Bytes of each section that is loaded or reserved.
        insecure: No host needs a key (CUTLAYER_INSECURE).
    """

    path: Path
    ram_bytes_static: int
    flash_bytes: int
    sections: dict[str, int]
    insecure: bool = False


def build_firmware(
    board: BoardSpec,
    bundle: Path,
    build_dir: Path = PROJECT_FOLDER / "build",
    *,
    sanitize: bool = False,
    sensor: Sensor | None = None,
    insecure: bool = False,
) -> Firmware:
    """Builds `bundle` (a folder that `cutlayer convert` wrote) for `board`, unless that has been done before.

    Args:
        board: What to build for.
        bundle: The bundle's folder.
        build_dir: Built firmware is kept in `build_dir`/firmware.
        sanitize: With AddressSanitizer and UndefinedBehaviorSanitizer; the native board only.
        sensor: What the recordings of the board's microphone are; by the head's input unless given.
        insecure: Without keys, as boards are that cannot keep one.

    Raises:
        BoardError: There is no such bundle, or no compiler, or it does not compile or fit.
    """
    if sanitize and board.emulator != "native":
        raise BoardError(f"{board.name} has no sanitizers", "use --board native")
    bundle = bundle.resolve()
    if not (bundle / "firmware" / "cutlayer_model.c").is_file():
        raise BoardError(
            f"{bundle} is not a bundle: it has no firmware/cutlayer_model.c", "cutlayer convert --help"
        )
    environment = board.environment + ("_asan" if sanitize else "")
    with locked(PROJECT_FOLDER / "build" / "pio.lock"):
        digest = _digest(environment, bundle, sensor, insecure)
        kept = build_dir / "firmware" / f"{environment}-{digest[:16]}"
        elf = kept / "firmware.elf"
        if not elf.is_file():
            _run_platformio(board, environment, bundle, sensor, insecure)
            built = PROJECT_FOLDER / "build" / "pio" / "build" / environment
            _keep([built / "firmware.elf", built / "firmware.map"], kept)
    return replace(measure(elf), insecure=insecure or board.insecure)


def measure(elf: Path) -> Firmware:
    """What an ELF file takes of a board."""
    from elftools.elf.elffile import ELFFile

    sections: dict[str, int] = {}
    ram_bytes = flash_bytes = 0
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if not section["sh_flags"] & _ALLOC or section["sh_size"] == 0:
                continue
            sections[section.name] = section["sh_size"]
            if section["sh_flags"] & _WRITE:
                ram_bytes += section["sh_size"]
            if section["sh_type"] != "SHT_NOBITS":
                flash_bytes += section["sh_size"]
    return Firmware(path=elf, ram_bytes_static=ram_bytes, flash_bytes=flash_bytes, sections=sections)


def _run_platformio(
    board: BoardSpec, environment: str, bundle: Path, sensor: Sensor | None, insecure: bool
) -> None:
    settings = {
        "CUTLAYER_BUNDLE": str(bundle),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "36500",
    }
    if sensor:
        settings["CUTLAYER_SENSOR"] = sensor
    if insecure:
        settings["CUTLAYER_INSECURE"] = "1"
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PLATFORMIO_") and name not in _OWN_SETTINGS
    }
    command = [sys.executable, "-m", "platformio", "run", "--silent", "--environment", environment]
    result = subprocess.run(
        command,
        cwd=PROJECT_FOLDER,
        env={**inherited, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise _build_error(board, environment, bundle, result.stdout)


def _build_error(board: BoardSpec, environment: str, bundle: Path, output: str) -> BoardError:
    """The compiler's own words, and what to do."""
    lines = output.strip().splitlines()
    if any("is not installed" in line for line in lines):
        return BoardError(
            f"the compiler for {board.name} is missing", f"sudo apt-get install {board.apt_packages}"
        )
    said = next((line for line in lines if any(words in line for words in _OVERFLOWS)), None)
    if said is not None:
        return BoardError(
            f"the firmware does not fit {board.name} ({board.ram_bytes} bytes of RAM, "
            f"{board.flash_bytes} of flash): {said.strip()}",
            "cut earlier, or take a smaller model",
        )
    return BoardError(
        f"the firmware for {board.name} does not build:\n"
        + "\n".join(line[:_MESSAGE_COLUMNS] for line in lines[-_MESSAGE_LINES:]),
        f"CUTLAYER_BUNDLE={bundle} pio run -e {environment} shows all of it",
    )


def _digest(environment: str, bundle: Path, sensor: Sensor | None, insecure: bool) -> str:
    """Names everything that the firmware is made of."""
    files = {path for pattern in _SOURCES for path in PROJECT_FOLDER.glob(pattern)}
    sources = [path for path in files if path.suffix in _SOURCE_SUFFIXES and path.is_file()]
    sources = [path for path in sources if "__pycache__" not in path.parts]
    digest = hashlib.sha256(repr((environment, sensor, insecure, _head_input(bundle))).encode())
    for path in sorted(sources):
        digest.update(str(path.relative_to(PROJECT_FOLDER)).encode() + path.read_bytes())
    for path in sorted(path for path in (bundle / "firmware").rglob("*") if path.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _head_input(bundle: Path) -> object:
    """Picks the sensor, so it is part of what the firmware is made of (firmware/scripts/bundle.py)."""
    manifest = bundle / "manifest.json"
    return json.loads(manifest.read_text()).get("input") if manifest.is_file() else None


def _keep(files: list[Path], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="firmware.", dir=folder.parent) as name:
        partial = Path(name) / "kept"
        partial.mkdir()
        for file in files:
            if file.is_file():
                shutil.copy2(file, partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock `path`: one PlatformIO at a time, because it keeps its build folders to itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
