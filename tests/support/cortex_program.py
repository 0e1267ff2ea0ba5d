"""Programs of a test's own around a Cortex-M port, without the node: they write to stdout, QEMU's or here."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from core import FLAGS, INCLUDE, ROOT, SOURCE

from cutlayer_boards.spec import BOARDS_FOLDER, BoardSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PORT = ROOT / "firmware" / "port"

# What startup.c calls; say() writes to stdout.
PLATFORM = """
#include "cortex_m/chip.h"
#include "cortex_m/cortex_m.h"
#include "cortex_m/semihosting.h"
void say(const char *text);
void systick_handler(void);
void say(const char *text) { semihosting_write(text); }
void chip_interrupt(void) {}
void systick_handler(void) {}
void cortex_m_stop(const char *reason) { semihosting_write(reason); semihosting_exit(0); }
"""


def _build(spec: BoardSpec) -> dict[str, Any]:
    build: dict[str, Any] = json.loads((BOARDS_FOLDER / f"{spec.name}.json").read_text())["build"]
    return build


def machine_flags(spec: BoardSpec) -> list[str]:
    """What tells the compiler the board's processor."""
    flags: list[str] = _build(spec)["machine_flags"]
    return flags


def build_program(
    spec: BoardSpec,
    folder: Path,
    sources: Sequence[Path],
    *,
    platform: str = PLATFORM,
    flags: Sequence[str] = (),
) -> Path:
    """Compiles `sources` as the firmware is compiled; headers may lie in `folder`.

    With `platform` come the port's start-up and semihosting; with "" the sources bring all of it.
    """
    build = _build(spec)
    memory = {
        "FLASH_ORIGIN": build["flash_origin"],
        "FLASH_BYTES": spec.flash_bytes,
        "RAM_ORIGIN": build["ram_origin"],
        "RAM_BYTES": spec.ram_bytes,
        "STACK_BYTES": spec.stack_bytes,
    }
    program, more = folder / "program", []
    if platform:
        parts = ("startup.c", "semihosting.c", "c_library.c")
        more = [folder / "platform.c", *(PORT / "cortex_m" / part for part in parts)]
        more[0].write_text(platform)
    command = ["arm-none-eabi-gcc", *machine_flags(spec), *(flag for flag in FLAGS if flag != "-fPIC")]
    command += flags
    command += [f"-I{path}" for path in (INCLUDE, SOURCE, PORT, folder)]
    command += ["-ffunction-sections", "-Wl,--gc-sections", "-nostartfiles", "--specs=nosys.specs"]
    command += [f"-T{ROOT / build['linker_script']}"]
    command += [f"-Wl,--defsym={name}={value}" for name, value in memory.items()]
    subprocess.run([*command, "-o", program, *sources, *more, "-lm"], check=True)
    return program


def qemu_command(spec: BoardSpec) -> list[str]:
    """QEMU with that machine, without UARTs and kernel."""
    assert spec.machine
    return ["qemu-system-arm", "-M", spec.machine, "-display", "none", "-monitor", "none"]


def run_program(spec: BoardSpec, program: Path, *options: str) -> list[str]:
    """The lines that it says until main returns."""
    command = [*qemu_command(spec), "-serial", "null", "-chardev", "stdio,id=console", *options]
    command += ["-semihosting-config", "enable=on,target=native,chardev=console", "-kernel", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return text.removesuffix("main returned").splitlines()


def run_on_registers(source: Path, folder: Path, *flags: str) -> list[str]:
    """The lines that a program of this computer says; a chip's registers are its memory (registers.h)."""
    program = folder / "program"
    command = ["gcc", *(flag for flag in FLAGS if flag != "-fPIC"), "-no-pie", "-Wno-int-to-pointer-cast"]
    command += [*flags, f"-I{INCLUDE}", f"-I{PORT}", "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
