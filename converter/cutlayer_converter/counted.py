"""Programs on an emulated Cortex-M without an operating system, whose instructions QEMU counts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cutlayer_boards.spec import BOARDS_FOLDER
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.verify import FIRMWARE, FLAGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutlayer_boards.spec import BoardSpec, InstructionSet

TEMPLATES = Path(__file__).parent / "templates"
CORE = FIRMWARE / "lib" / "cutlayer" / "src"
# Their flash, RAM and timer lie where the templates expect them.
MACHINES = ("mps2-an385", "mps2-an386", "mps2-an500")
RUN_TIMEOUT_S = 600
# An instruction takes 2^6 ns of virtual time, more than a tick of the timer: none is missed by the count.
ICOUNT = ("-icount", "shift=6")


def check_machine(board: BoardSpec) -> None:
    """Raises ConvertError for a board whose instructions cannot be counted."""
    if board.machine not in MACHINES:
        message = f"instructions are counted on QEMU's {', '.join(MACHINES)}; {board.name} is none of them"
        raise ConvertError(message, "use --board qemu_mps2_an386")


def head_sources() -> list[Path]:
    """What a compiled head needs of the core."""
    return [CORE / "head.c", *sorted((CORE / "kernels").rglob("*.c"))]


def train_sources() -> list[Path]:
    """What the trainable layer needs of the core."""
    return [*head_sources(), CORE / "float_bits.c", *sorted(CORE.glob("train*.c"))]


def defines_for(instruction_set: InstructionSet) -> list[str]:
    """Keeps portable kernels from SIMD instructions where kernels for less than Armv7E-M are asked for."""
    return [] if instruction_set == "armv7e-m" else ["-DCL_NO_SIMD32"]


def build_program(
    template: str, folder: Path, sources: Sequence[Path], board: BoardSpec, defines: Sequence[str]
) -> Path:
    """Compiles templates/TEMPLATE.c, which may include what lies in `folder`, with `sources` of the core.

    Raises:
        ConvertError: The compiler is missing or refuses.
    """
    compiler = shutil.which("arm-none-eabi-gcc")
    if compiler is None:
        message = "arm-none-eabi-gcc is not on PATH"
        raise ConvertError(message, f"sudo apt-get install {board.apt_packages}")
    machine_flags = json.loads((BOARDS_FOLDER / f"{board.name}.json").read_text())["build"]["machine_flags"]
    flags = [*FLAGS, *machine_flags, *defines, "-ffunction-sections", "-fdata-sections"]
    flags += [f"-I{path}" for path in (FIRMWARE / "include", CORE, folder)]
    link = ["-nostartfiles", "--specs=nosys.specs", f"-T{TEMPLATES / 'bench_head.ld'}", "-Wl,--gc-sections"]
    program = folder / f"{template}.elf"
    command = [compiler, *flags, *link, "-o", str(program), str(TEMPLATES / f"{template}.c")]
    done = subprocess.run([*command, *map(str, sources), "-lm"], capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{template} does not build for {board.name}: {done.stderr.strip()[:2000]}"
        raise ConvertError(message, "report this with the model: the converter wrote C that is wrong")
    return program


def run_program(program: Path, board: BoardSpec, options: Sequence[str] = ICOUNT) -> list[list[str]]:
    """The words of each line that the program writes.

    Without ICOUNT among the emulator's `options` it runs faster, and its timer says nothing.

    Raises:
        ConvertError: The emulator is missing, or the program stops with a fault.
    """
    emulator = shutil.which("qemu-system-arm")
    if emulator is None:
        message = "qemu-system-arm is not on PATH"
        raise ConvertError(message, f"sudo apt-get install {board.apt_packages}")
    console = ["-chardev", "stdio,id=console"]
    console += ["-semihosting-config", "enable=on,target=native,chardev=console"]
    command = [emulator, "-M", str(board.machine), "-display", "none", "-monitor", "none", "-serial", "null"]
    command += [*options, *console, "-kernel", str(program)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S
    )
    if done.returncode:
        message = f"{program.stem} stops on {board.machine}: {(done.stdout + done.stderr).strip()[-500:]}"
        raise ConvertError(message, "report this with the model: the firmware's kernels are wrong")
    return [line.split() for line in done.stdout.splitlines() if line]
