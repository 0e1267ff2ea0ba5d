"""Ten million random and mangled bytes against decoders, link and a whole node, under ASan and UBSan."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from core import BUILD, INCLUDE, SOURCE

FUZZ = Path(__file__).parent / "fuzz"
BYTES = 10_000_000
FLAGS = [
    "-std=c99",
    "-D_POSIX_C_SOURCE=200112L",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="session")
def fuzz() -> Path:
    sources = [
        *sorted(FUZZ.glob("*.c")),
        *sorted(SOURCE.glob("*.c")),
        *sorted((SOURCE / "kernels").glob("*.c")),
    ]
    watched = [*sources, *sorted(INCLUDE.rglob("*.h")), *sorted(SOURCE.rglob("*.h")), *FUZZ.glob("*.h")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in watched)).hexdigest()[:16]
    program = BUILD / f"fuzz-{digest}"
    if not program.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(".partial")
        include = [f"-I{INCLUDE}", f"-I{SOURCE}"]
        subprocess.run(["gcc", *FLAGS, *SANITIZE, *include, "-o", partial, *sources, "-lm"], check=True)
        partial.rename(program)
    return program


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("target", ["frame", "link", "node"])
def test_bad_bytes_break_nothing(fuzz: Path, target: str, seed: int) -> None:
    done = subprocess.run([fuzz, target, str(BYTES), str(seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
