"""Fuzz targets as programs that take libFuzzer's arguments, their corpora, and a run of one.

The C targets (tests/firmware/fuzz) are built with clang, ASan and UBSan; the Python ones run under atheris.
A corpus is one file a target: each input is its length as u16 and its bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from core import BUILD, INCLUDE, ROOT, SOURCE

from cutlayer_boards.third_party import monocypher, monocypher_object

FUZZ = ROOT / "tests" / "firmware" / "fuzz"
GUARD = ROOT / "firmware" / "lib" / "guard"
CORPUS = FUZZ / "corpus"
FINDINGS = ROOT / "build" / "fuzz" / "findings"
CLANG = shutil.which("clang-14") or shutil.which("clang")
FLAGS = [
    *(
        "-std=c99",
        "-D_POSIX_C_SOURCE=200112L",
        "-O2",
        "-g",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-Werror",
    ),
    *("-fsanitize=fuzzer,address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
    *(f"-I{folder}" for folder in (INCLUDE, SOURCE, FUZZ, GUARD / "include")),
]
INPUT_SECONDS = 20  # one input that takes longer hangs

# The longest input that is of use, and the share of a campaign's inputs: what is quick gets more.
C_TARGETS = {
    "codec": (200, 0.06),
    "frame": (160, 0.04),
    "guard": (200, 0.01),
    "link": (300, 0.05),
    "message": (80, 0.71),
    "node": (2000, 0.003),
    "session": (600, 0.024),
    "slots": (200, 0.025),
    "train": (200, 0.018),
    "window": (400, 0.06),
}
PYTHON_TARGETS = {
    "both_links": (200, 0.06),
    "codecs": (200, 0.25),
    "frames": (200, 0.1),
    "key_file": (200, 0.01),
    "key_slots": (100, 0.015),
    "link": (300, 0.1),
    "manifest": (400, 0.015),
    "messages": (140, 0.41),
    "session": (300, 0.05),
    "store": (100, 0.01),
}
PYTHON_SHARE = 0.04  # of the inputs of the C targets that the Python targets get


@dataclass(frozen=True)
class Target:
    """One target; `name` is as in `c/link`."""

    language: str
    short: str
    longest: int
    share: float

    @property
    def name(self) -> str:
        return f"{self.language}/{self.short}"

    @property
    def corpus(self) -> Path:
        return CORPUS / f"{self.language}_{self.short}.bin"

    def command(self) -> list[str]:
        if self.language == "c":
            return [str(build())]
        return [sys.executable, str(Path(__file__).parent / "fuzz_atheris.py"), self.short]


TARGETS = [
    *(Target("c", name, longest, share) for name, (longest, share) in C_TARGETS.items()),
    *(
        Target("python", name, longest, PYTHON_SHARE * share)
        for name, (longest, share) in PYTHON_TARGETS.items()
    ),
]


@dataclass
class Ran:
    """What came of a run: inputs, how deep they got (C only), and what broke."""

    inputs: int = 0
    reached: dict[str, int] = field(default_factory=dict)
    finding: str | None = None


@cache
def build() -> Path:
    """The program of all C targets; anew when a source changes."""
    assert CLANG, "clang is missing: boards/setup/system_packages.sh installs it"
    sources = [
        *sorted(FUZZ.glob("*.c")),
        *sorted(SOURCE.glob("*.c")),
        *sorted((SOURCE / "kernels").glob("*.c")),
        *sorted((GUARD / "src").glob("*.c")),
    ]
    folders = (INCLUDE, SOURCE, FUZZ, GUARD)
    watched = [*sources, *(path for folder in folders for path in sorted(folder.rglob("*.h")))]
    digest = hashlib.sha256(repr(FLAGS).encode() + b"".join(path.read_bytes() for path in watched))
    program = BUILD / f"fuzz-{digest.hexdigest()[:16]}"
    if not program.exists():
        folder = program.with_suffix(f".{os.getpid()}")
        folder.mkdir(parents=True, exist_ok=True)
        objects = [folder / f"{number}.o" for number in range(len(sources))]
        cipher = monocypher_object(CLANG, "-fsanitize=address")

        def compiled(source: Path, output: Path) -> None:
            command = [CLANG, *FLAGS, f"-isystem{monocypher()}", "-c", "-o", output, source]
            subprocess.run(command, check=True)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compiled, sources, objects))
        subprocess.run([CLANG, *FLAGS, "-o", folder / "fuzz", *objects, cipher, "-lm"], check=True)
        (folder / "fuzz").rename(program)
        shutil.rmtree(folder)
    return program


def read_corpus(target: Target) -> list[bytes]:
    data, inputs = target.corpus.read_bytes(), []
    while data:
        (count,) = struct.unpack_from("<H", data)
        inputs.append(data[2 : 2 + count])
        data = data[2 + count :]
    return inputs


def write_corpus(target: Target, inputs: list[bytes]) -> None:
    CORPUS.mkdir(exist_ok=True)
    ordered = sorted(inputs, key=lambda item: (len(item), item))
    target.corpus.write_bytes(b"".join(struct.pack("<H", len(item)) + item for item in ordered))


def unpack_corpus(target: Target, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for item in read_corpus(target) if target.corpus.exists() else []:
        (folder / hashlib.sha1(item, usedforsecurity=False).hexdigest()).write_bytes(item)


def run(target: Target, corpus: Path, *arguments: str) -> Ran:
    """Fuzzes with the folder `corpus`, which grows; or runs the input in the file `corpus`."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    prefix = FINDINGS / f"{target.language}-{target.short}-"
    options = [
        "-len_control=0",
        f"-max_len={target.longest}",
        f"-timeout={INPUT_SECONDS}",
        f"-artifact_prefix={prefix}",
    ]
    command = [*target.command(), *options, "-print_final_stats=1", str(corpus), *arguments]
    environment = os.environ | {"CUTLAYER_FUZZ_TARGET": target.short}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    return _read(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))


def _read(code: int, printed: str) -> Ran:
    # A run that broke off says no totals, but its last line of progress does.
    counts = re.findall(r"number_of_executed_units: (\d+)", printed) or re.findall(r"^#(\d+)", printed, re.M)
    ran = Ran(int(counts[-1]) if counts else 0)
    if match := re.search(r"^reached (\{.*\})$", printed, re.M):
        ran.reached = json.loads(match[1])
    if code != 0:
        ran.finding = printed[-4000:]
    return ran
