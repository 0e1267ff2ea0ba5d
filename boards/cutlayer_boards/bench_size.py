"""Flash that the portable core takes, file by file: `cutlayer bench size`.

Each file of firmware/lib/cutlayer/src is compiled for a Cortex-M4F with -Os, and what of the objects goes to
flash is counted: code, constants and initial values. Two figures a file:

    compiled   all of its object
    flash      less the functions that a board without storage cannot reach from cl_node_init and
               cl_node_step (the linker's --gc-sections): the host's end of the link and of the codecs, which
               tests use, and what only other processors or the interpreter need

What storage adds, the functions that cl_saver_init reaches beyond those, is a figure by itself.

Kernels are counted whole and by themselves: they are the head's, and a firmware has those that its head uses.
The C library and the head's tables are not in it.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from cutlayer_boards.errors import BoardError

BOARD = "qemu_mps2_an386"
LIMIT_BYTES = 16 * 1024
"""What the core may take without the kernels, which are the head's."""

_ROOTS = ("cl_node_init", "cl_node_step", "cl_node_bytes")
_STORAGE_ROOT = "cl_saver_init"
_FLAGS = ["-std=c99", "-Os", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections"]


@dataclass(frozen=True, slots=True)
class FileSize:
    """One C file. `is_kernel`: only heads with that operation have it. `storage_bytes`: storage adds."""

    file: str
    flash_bytes: int
    storage_bytes: int
    compiled_bytes: int
    is_kernel: bool


def measure_core(compiler: str = "arm-none-eabi-gcc") -> list[FileSize]:
    """Compiles the core; the sizes by file, kernels last.

    Raises:
        BoardError: There is no such compiler, or it does not take the core.
    """
    from cutlayer_boards.build import measure
    from cutlayer_boards.spec import BOARDS_FOLDER, PROJECT_FOLDER

    source = PROJECT_FOLDER / "firmware" / "lib" / "cutlayer" / "src"
    machine = json.loads((BOARDS_FOLDER / f"{BOARD}.json").read_text())["build"]["machine_flags"]
    includes = [f"-I{PROJECT_FOLDER / 'firmware' / 'include'}", f"-I{source}"]
    sizes, core = [], {}
    with tempfile.TemporaryDirectory(prefix="cutlayer-") as name:
        for index, path in enumerate(sorted(source.rglob("*.c"))):
            file, built = str(path.relative_to(source)), Path(name) / f"{index}.o"
            _run([compiler, *machine, *_FLAGS, *includes, "-c", str(path), "-o", str(built)])
            compiled_bytes = measure(built).flash_bytes
            if file.startswith("kernels/"):
                sizes.append(FileSize(file, compiled_bytes, 0, compiled_bytes, is_kernel=True))
            else:
                core[built] = (file, compiled_bytes)
        link = [compiler, *machine]
        without = _unreachable(link, list(core), Path(name) / "core.o", _ROOTS)
        unused = _unreachable(link, list(core), Path(name) / "core.o", (*_ROOTS, _STORAGE_ROOT))
        for built, (file, compiled_bytes) in core.items():
            flash_bytes = compiled_bytes - without.get(built, 0)
            storage_bytes = without.get(built, 0) - unused.get(built, 0)
            sizes.append(FileSize(file, flash_bytes, storage_bytes, compiled_bytes, is_kernel=False))
    return sorted(sizes, key=lambda size: (size.is_kernel, size.file))


def _unreachable(
    compiler: list[str], objects: list[Path], linked: Path, names: tuple[str, ...]
) -> dict[Path, int]:
    """Bytes of each object that the linker leaves out when only `names` are asked for."""
    from cutlayer_boards.build import measure

    roots = [f"-Wl,-u,{name}" for name in names]
    options = ["-nostdlib", "-Wl,-r", "-Wl,--gc-sections", f"-Wl,-e,{names[0]}", "-Wl,--print-gc-sections"]
    said = _run([*compiler, *options, *roots, "-o", str(linked), *map(str, objects)])
    found: dict[Path, int] = {}
    for section, name in re.findall(r"removing unused section '(\S+)' in file '(\S+)'", said):
        sections = measure(Path(name)).sections
        found[Path(name)] = found.get(Path(name), 0) + sections.get(section, 0)
    return found


def _run(command: list[str]) -> str:
    """What the compiler says on stderr."""
    from cutlayer_boards.spec import board

    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr
    except FileNotFoundError:
        hint = f"sudo apt-get install {board(BOARD).apt_packages}"
        raise BoardError(f"{command[0]} is not installed", hint) from None
    except subprocess.CalledProcessError as error:
        raise BoardError(f"the core does not compile:\n{error.stderr}") from None


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
    storage_bytes = sum(file.storage_bytes for file in files)
    kernel_bytes = sum(file.flash_bytes for file in files if file.is_kernel)
    if as_json:
        print_json(
            {
                "core_bytes": core_bytes,
                "core_limit_bytes": LIMIT_BYTES,
                "storage_bytes": storage_bytes,
                "core_compiled_bytes": sum(file.compiled_bytes for file in files if not file.is_kernel),
                "kernel_bytes": kernel_bytes,
                "files": [asdict(file) for file in files],
            }
        )
        return
    _print_table(files, core_bytes, kernel_bytes)


def _print_table(files: list[FileSize], core_bytes: int, kernel_bytes: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "flash bytes", "for storage", "compiled", title="The core on a Cortex-M4F, -Os")
    for file in files:
        storage = f"{file.storage_bytes:,}" if file.storage_bytes else ""
        table.add_row(file.file, f"{file.flash_bytes:,}", storage, f"{file.compiled_bytes:,}")
    table.add_section()
    compiled_bytes = sum(file.compiled_bytes for file in files if not file.is_kernel)
    storage_bytes = sum(file.storage_bytes for file in files)
    table.add_row("core", f"{core_bytes:,} of {LIMIT_BYTES:,}", f"{storage_bytes:,}", f"{compiled_bytes:,}")
    table.add_row("all kernels", f"{kernel_bytes:,}")
    Console().print(table)
