"""Instructions, flash and memory of sealed connections on an emulated Cortex-M, counted by QEMU."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from cutlayer_boards.spec import BOARDS_FOLDER
from cutlayer_boards.third_party import monocypher, monocypher_object
from cutlayer_converter.counted import build_program, check_machine, run_program
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.verify import FIRMWARE, FLAGS

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec

PAYLOAD_BYTES = 1024
GUARD = FIRMWARE / "lib" / "guard"
_SHF_WRITE = 1


@dataclass(frozen=True, slots=True)
class SealFigures:
    """Instructions of the board's part of a handshake, and of a frame of PAYLOAD_BYTES of payload.

    `refuse` is of a frame with a changed bit. Flash is of the guard, and of what it links of Monocypher;
    `guard_bytes` is the RAM of its struct, `stack_bytes` the most that a handshake or a frame takes.
    """

    handshake: int
    seal: int
    open: int
    refuse: int
    guard_flash_bytes: int
    monocypher_flash_bytes: int
    guard_bytes: int
    stack_bytes: int


def measure_seal(board: BoardSpec) -> SealFigures:
    """Connects a board and its host within one program, and seals frames both ways.

    Raises:
        ConvertError: The board is none that this can count on, or compiler or emulator fail.
        BoardError: Monocypher cannot be had.
    """
    check_machine(board)
    assert board.instructions_per_tick is not None
    machine_flags = json.loads((BOARDS_FOLDER / f"{board.name}.json").read_text())["build"]["machine_flags"]
    cipher = monocypher_object("arm-none-eabi-gcc", *machine_flags)
    include = [f"-I{FIRMWARE / 'include'}", f"-I{GUARD / 'include'}", f"-isystem{monocypher()}"]
    defines = ["-DBENCH_COUNT", f"-DPAYLOAD_BYTES={PAYLOAD_BYTES}u", *include]
    with tempfile.TemporaryDirectory(prefix="cutlayer-bench-") as name:
        guard = Path(name) / "guard.o"
        _compile(["arm-none-eabi-gcc", *FLAGS, *machine_flags, "-ffunction-sections", *include], guard)
        program = build_program("bench_seal", Path(name), [guard, cipher], board, defines)
        found = {line[0]: int(line[1]) for line in run_program(program, board)}
        linked = _flash_bytes(program)
        flash = [sum(linked.get(symbol, 0) for symbol in _flash_bytes(part)) for part in (guard, cipher)]
    counted = ("handshake", "seal", "open", "refuse")
    counts = {name: round(found[name] * board.instructions_per_tick) for name in counted}
    return SealFigures(
        **counts,
        guard_flash_bytes=flash[0],
        monocypher_flash_bytes=flash[1],
        guard_bytes=found["guard"],
        stack_bytes=found["stack"],
    )


def _compile(command: list[str], built: Path) -> None:
    source = GUARD / "src" / "guard_monocypher.c"
    try:
        subprocess.run(
            [*command, "-c", str(source), "-o", str(built)], check=True, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise ConvertError(f"{command[0]} is not on PATH", "sudo apt-get install gcc-arm-none-eabi") from None
    except subprocess.CalledProcessError as error:
        raise ConvertError(f"the guard does not compile:\n{error.stderr}") from error


def _flash_bytes(file: Path) -> dict[str, int]:
    """Bytes of each function and constant that an ELF file names."""
    with file.open("rb") as stream:
        elf = ELFFile(stream)
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return {
            symbol.name: symbol["st_size"]
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT")
            and isinstance(symbol["st_shndx"], int)
            and not elf.get_section(symbol["st_shndx"])["sh_flags"] & _SHF_WRITE
        }
