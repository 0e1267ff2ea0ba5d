"""Our own sources for a machine whose int and size_t have 16 bits: not a warning under avr-gcc."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from core import INCLUDE, ROOT, SOURCE

if TYPE_CHECKING:
    from pathlib import Path

PORT = ROOT / "firmware" / "port"
LIBRARIES = ROOT / "firmware" / "lib"
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off", "-mmcu=atmega2560"]
C_SOURCES = sorted(
    [
        *(path for path in SOURCE.rglob("*.c") if "armv7em" not in path.parts),
        *(LIBRARIES / "recorded" / "src").glob("*.c"),
        *(PORT / "nordic_uart").glob("*.c"),
    ]
)
# Hold when this file compiles: what the core counts on, and what a machine of 16 bits has.
ASSUMED = """
#include <stdint.h>
#include <stddef.h>
#define HOLDS(name, truth) typedef char name[(truth) ? 1 : -1]
HOLDS(int_has_16_bits, sizeof(int) == 2);
HOLDS(sizes_have_16_bits, sizeof(size_t) == 2);
HOLDS(double_is_no_double, sizeof(double) == 4);
HOLDS(shifts_right_are_arithmetic, ((int32_t)-3 >> 1) == -2);
"""


def compiles(source: Path, optimization: str) -> str:
    """The compiler's words: none when all is well."""
    includes = [f"-I{INCLUDE}", f"-I{SOURCE}", f"-I{LIBRARIES / 'recorded' / 'include'}", f"-I{PORT}"]
    command = ["avr-gcc", "-std=c99", optimization, *STRICT, *includes, "-c", str(source), "-o", "/dev/null"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("optimization", ["-Os", "-O2"])
def test_every_source_of_ours_compiles_without_a_warning(optimization: str) -> None:
    assert len(C_SOURCES) > 25
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda source: compiles(source, optimization), C_SOURCES))
    assert "".join(said) == ""


def test_the_machine_is_what_the_test_is_about(tmp_path: Path) -> None:
    source = tmp_path / "assumed.c"
    source.write_text(ASSUMED)
    assert compiles(source, "-Os") == ""


def test_a_narrow_product_would_be_seen(tmp_path: Path) -> None:
    source = tmp_path / "narrow.c"
    source.write_text("#include <string.h>\n#include <stdint.h>\nvoid f(char *p, uint32_t n);\n")
    with source.open("a") as file:
        file.write("void f(char *p, uint32_t n) { memset(p, 0, n); }\n")
    assert "-Werror=conversion" in compiles(source, "-Os")
