"""Programs of a test's own on the emulated Mega 2560, without node: they write to simavr's console."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from core import BUILD, INCLUDE, SOURCE

from cutlayer_boards import simavr
from cutlayer_boards.spec import board

if TYPE_CHECKING:
    from collections.abc import Sequence

BOARD = board("megaatmega2560")
RAM_BYTES = BOARD.ram_bytes - BOARD.stack_bytes
FLAGS = ("-mmcu=atmega2560", "-DF_CPU=16000000L", "-std=c99", "-O2", "-ffp-contract=off")
FLAGS += ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffunction-sections", "-fdata-sections")
FLAGS += (f"-I{INCLUDE}", f"-I{SOURCE}")
# say() writes to the simulator's console; asleep without interrupts the chip halts.
PLATFORM = """
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#undef main
int program_main(void);
void say(const char *text);
void say(const char *text) { while (*text) { GPIOR0 = (uint8_t)*text++; } }
int main(void) { (void)program_main(); cli(); SMCR = 1; sleep_cpu(); return 0; }
"""
END = "halted"


@cache
def core_library() -> Path:
    """The whole core, compiled once for all programs."""
    others = {"armv7em", "long"}  # of other processors; their files have the same names
    sources = [path for path in sorted(SOURCE.rglob("*.c")) if not others & set(path.parts)]
    digest = hashlib.sha256(repr(FLAGS).encode())
    for path in (*sources, *sorted(SOURCE.rglob("*.h")), *sorted(INCLUDE.rglob("*.h"))):
        digest.update(path.name.encode() + path.read_bytes())
    library = BUILD / f"avr-{digest.hexdigest()[:16]}.a"
    if not library.is_file():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as name:
            subprocess.run(["avr-gcc", *FLAGS, "-c", *map(str, sources)], cwd=name, check=True)
            objects = sorted(path.name for path in Path(name).glob("*.o"))
            subprocess.run(["avr-ar", "rcs", "core.a", *objects], cwd=name, check=True)
            (Path(name) / "core.a").rename(library)
    return library


def build_program(folder: Path, sources: Sequence[Path]) -> Path:
    """Compiles `sources` with the core and a say(); headers may lie in `folder`. They have to fit."""
    program, platform = folder / "program.elf", folder / "platform.c"
    platform.write_text(PLATFORM)
    link = ["-Wl,--gc-sections", f"-Wl,--defsym=__DATA_REGION_LENGTH__={RAM_BYTES}"]
    command = ["avr-gcc", *FLAGS, "-Dmain=program_main", f"-I{folder}", *link, "-o", str(program)]
    command += [*map(str, sources), str(platform), str(core_library()), "-lm"]
    subprocess.run(command, check=True)
    return program


def run_program(program: Path) -> list[str]:
    """The lines that it says until it halts."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listening:
        path = f"{name}/link"
        listening.bind(path)
        listening.listen(1)
        descriptor = listening.fileno()
        command = [str(simavr.runner(BOARD)), str(BOARD.machine), str(BOARD.clock_hz), str(program), ""]
        with (
            subprocess.Popen(
                [*command, str(descriptor)], pass_fds=(descriptor,), stderr=subprocess.PIPE, text=True
            ) as process,
            socket.socket(socket.AF_UNIX) as host,
        ):
            host.connect(path)
            _, said = process.communicate(timeout=120)
    *lines, end = said.splitlines()
    assert end == END, said
    return lines
