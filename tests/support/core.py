"""The firmware's C core as a shared library for tests, through cffi."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "firmware" / "include"
SOURCE = ROOT / "firmware" / "lib" / "cutlayer" / "src"
BUILD = ROOT / "build" / "tests"
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off", "-fPIC"]


def core_library(
    sources: list[Path],
    headers: list[str],
    extra_cdef: str = "",
    defines: tuple[str, ...] = (),
    include: tuple[Path, ...] = (),
) -> tuple[FFI, Any]:
    """Compiles `sources`, declares what `headers` ("cutlayer/head.h") say; anew when a C file changes.

    `include` names folders of headers beside the core's.
    """
    folders = [f"-I{folder}" for folder in (INCLUDE, SOURCE, *include)]
    flags = [*FLAGS, *(f"-D{name}" for name in defines), *folders]
    digest = hashlib.sha256(repr((flags, headers, extra_cdef)).encode())
    named = [
        path for folder in (INCLUDE, *include) for path in map(folder.joinpath, headers) if path.is_file()
    ]
    watched = {*sources, *named, *INCLUDE.rglob("*.h"), *SOURCE.rglob("*.[ch]")}
    watched |= {path for folder in include for path in folder.rglob("*.h")}
    for path in sorted(watched):
        digest.update(str(path).encode() + path.read_bytes())
    library = BUILD / f"core-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        partial = library.with_suffix(f".{hashlib.sha256(str(id(digest)).encode()).hexdigest()[:8]}.partial")
        subprocess.run(["gcc", *flags, "-shared", "-o", partial, *sources], check=True)
        partial.rename(library)
    ffi = FFI()
    ffi.cdef(_declarations(headers, folders) + extra_cdef, packed=False)
    return ffi, ffi.dlopen(str(library))


def _declarations(headers: list[str], folders: list[str]) -> str:
    """What the headers declare, preprocessed, without the system's own headers."""
    text = "".join(f'#include "{name}"\n' for name in headers)
    command = ["gcc", "-E", "-std=c99", *folders, "-DCL_CHECK_RESULT=", "-x", "c", "-"]
    output = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    ours, keep = [], False
    for line in output.splitlines():
        if line.startswith("# "):
            keep = "/firmware/" in line
        elif keep:
            ours.append(line)
    return "\n".join(ours)
