"""Flash that the portable core takes, file by file: `cutlayer bench size`.

Each file of firmware/lib/cutlayer/src is compiled by itself for a Cortex-M4F with -Os, and what of the object
goes to flash is counted: code, constants and initial values. Nothing is linked, so it is the most that a
file can take: a firmware leaves out functions, and kernels, that its head does not use. The C library and the
head's tables are not in it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from cutlayer_boards.errors import BoardError

BOARD = "qemu_mps2_an386"
LIMIT_BYTES = 16 * 1024
"""What the core may take without the kernels, which are the head's."""

_FLAGS = ["-std=c99", "-Os", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections"]


@dataclass(frozen=True, slots=True)
class FileSize:
    """One C file. `is_kernel`: only heads with that operation have it."""

    file: str
    flash_bytes: int
    is_kernel: bool


def measure_core(compiler: str = "arm-none-eabi-gcc") -> list[FileSize]:
    """Compiles the core; the sizes by file, kernels last.

    Raises:
        BoardError: There is no such compiler, or it does not take the core.
    """
    from cutlayer_boards.build import measure
    from cutlayer_boards.spec import BOARDS_FOLDER, PROJECT_FOLDER, board

    source = PROJECT_FOLDER / "firmware" / "lib" / "cutlayer" / "src"
    machine = json.loads((BOARDS_FOLDER / f"{BOARD}.json").read_text())["build"]["machine_flags"]
    includes = [f"-I{PROJECT_FOLDER / 'firmware' / 'include'}", f"-I{source}"]
    sizes = []
    with tempfile.TemporaryDirectory(prefix="cutlayer-") as folder:
        for path in source.rglob("*.c"):
            built = Path(folder) / "object.o"
            command = [compiler, *machine, *_FLAGS, *includes, "-c", str(path), "-o", str(built)]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except FileNotFoundError:
                hint = f"sudo apt-get install {board(BOARD).apt_packages}"
                raise BoardError(f"{compiler} is not installed", hint) from None
            except subprocess.CalledProcessError as error:
                raise BoardError(f"{path} does not compile:\n{error.stderr}") from None
            name = path.relative_to(source)
            sizes.append(FileSize(str(name), measure(built).flash_bytes, name.parts[0] == "kernels"))
    return sorted(sizes, key=lambda size: (size.is_kernel, size.file))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def size(*, as_json: bool) -> None:
    """Measure the core's flash, by file.

    For the Cortex-M4F with -Os, without head and C library.
    """
    from cutlayer_boards.console import console, print_json

    with console().status("compiling the core"):
        files = measure_core()
    core_bytes = sum(file.flash_bytes for file in files if not file.is_kernel)
    kernel_bytes = sum(file.flash_bytes for file in files if file.is_kernel)
    if as_json:
        print_json(
            {
                "core_bytes": core_bytes,
                "core_limit_bytes": LIMIT_BYTES,
                "kernel_bytes": kernel_bytes,
                "files": [asdict(file) for file in files],
            }
        )
        return
    _print_table(files, core_bytes, kernel_bytes)


def _print_table(files: list[FileSize], core_bytes: int, kernel_bytes: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "flash bytes", title="The core on a Cortex-M4F, -Os")
    for file in files:
        table.add_row(file.file, f"{file.flash_bytes:,}")
    table.add_section()
    table.add_row("core", f"{core_bytes:,} of {LIMIT_BYTES:,}")
    table.add_row("all kernels", f"{kernel_bytes:,}")
    Console().print(table)
