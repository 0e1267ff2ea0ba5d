"""`cutlayer bench frames`: corrupted frames that are still taken for frames.

Random frames are encoded, damaged in each of the ways below, and decoded by the firmware's own frame.c. What
comes out and was sent by nobody has been accepted. A CRC-32 misses no error of one to three bits in a body,
nor one within 32 bits in a row; but COBS may turn one changed byte of the line into many of the body, so that
of n corrupted frames n / 2^32 may be expected to be accepted, at most.

With keys a frame must pass the seal too. To see that by itself, sealed bodies are damaged behind the CRC-32,
as if it had noticed nothing, and given to the firmware's own guard.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from cutlayer_boards.spec import PROJECT_FOLDER
from cutlayer_host.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

DAMAGES = (
    *("flip_1", "flip_2", "flip_3", "flip_4_to_16", "burst_to_32", "burst_33_to_256"),
    *("truncate", "delete", "insert", "splice"),
)
UNLIKELY = 1e-3  # that more are accepted than CRC-32 predicts, by chance

_FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC")


@dataclass(frozen=True, slots=True)
class Accepted:
    """Of so many corrupted frames; `predicted` is the most that CRC-32 leads one to expect."""

    corrupted: int
    accepted: int

    @property
    def predicted(self) -> float:
        """See the module."""
        return self.corrupted / 2**32

    @property
    def likelihood(self) -> float:
        """How likely it is that as many or more are accepted, if the prediction is right (Poisson)."""
        terms = (self.predicted**k / math.factorial(k) for k in range(self.accepted))
        return 1 - math.exp(-self.predicted) * sum(terms)


def corrupt(frames: int, *, seed: int = 0, jobs: int = 1) -> dict[str, Accepted]:
    """Corrupts frames natively, on so many cores; by damage.

    Raises:
        HostError: the C does not compile, or cannot make a frame.
    """
    library = _library()
    shares = [frames // jobs + (job < frames % jobs) for job in range(jobs)]

    def one(job: int) -> list[tuple[int, int]]:
        state = ctypes.create_string_buffer(library.corruption_bytes())
        library.corruption_init(state, ctypes.c_uint64(seed * jobs + job))
        if library.corruption_run(state, ctypes.c_uint64(shares[job])) < 0:
            raise HostError("corruption.c cannot make a frame")
        tally, tallies = (ctypes.c_uint64 * 2)(), []
        for damage in range(len(DAMAGES)):
            library.corruption_tally(state, damage, tally)
            tallies.append((tally[0], tally[1]))
        return tallies

    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(one, range(jobs)))
    return {
        name: Accepted(sum(job[place][0] for job in found), sum(job[place][1] for job in found))
        for place, name in enumerate(DAMAGES)
    }


def forge(bodies: int, *, seed: int = 0) -> tuple[int, int]:
    """Damages sealed bodies behind the CRC-32; how many there were, and how many the guard opened.

    Raises:
        HostError: the C does not compile, or two guards with one key do not understand each other.
    """
    library = _library()
    state = ctypes.create_string_buffer(library.forgery_bytes())
    if library.forgery_run(state, ctypes.c_uint64(seed), ctypes.c_uint64(bodies)) < 0:
        raise HostError("two guards with one key do not understand each other")
    tally = (ctypes.c_uint64 * 2)()
    library.forgery_tally(state, tally)
    return tally[0], tally[1]


@click.command()
@click.option("--frames", default=100_000_000, show_default=True, help="To corrupt.")
@click.option("--forged", default=10_000_000, show_default=True, help="Sealed bodies to damage.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Cores to use.")
@click.option("--seed", default=0, show_default=True, help="Of all chance.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def frames(*, frames: int, forged: int, jobs: int, seed: int, as_json: bool) -> None:
    """Corrupt frames, and count what is still taken for a frame."""
    from cutlayer_boards.console import console, print_json

    with console().status(f"corrupting {frames:,d} frames"):
        damages = corrupt(frames, seed=seed, jobs=jobs)
        bodies, opened = forge(forged, seed=seed)
    total = Accepted(*(sum(values) for values in zip(*map(_pair, damages.values()), strict=True)))
    found = {
        **asdict(total),
        "predicted": total.predicted,
        "as_predicted": total.likelihood >= UNLIKELY,
        "damages": {name: asdict(one) for name, one in damages.items()},
        "sealed": {"forged": bodies, "opened": opened},
    }
    if as_json:
        print_json(found)
        return
    console().print(
        f"{total.accepted} of {total.corrupted:,d} corrupted frames accepted, CRC-32 predicts at most "
        f"{total.predicted:.2g}; with keys {opened} of {bodies:,d} that a CRC-32 would have missed",
        highlight=False,
    )


def _pair(one: Accepted) -> tuple[int, int]:
    return one.corrupted, one.accepted


@functools.cache
def _library() -> ctypes.CDLL:
    from cutlayer_boards.third_party import monocypher, monocypher_object

    firmware = PROJECT_FOLDER / "firmware"
    guard = firmware / "lib" / "guard"
    sources = (
        firmware / "port" / "line" / "corruption.c",
        firmware / "port" / "line" / "forgery.c",
        guard / "src" / "guard_monocypher.c",
        firmware / "lib" / "cutlayer" / "src" / "frame.c",
    )
    folders = (firmware / "include", firmware / "lib" / "cutlayer" / "src", guard / "include")
    read = [*sources, *(path for folder in folders for path in sorted(folder.rglob("*.h")))]
    digest = hashlib.sha256(repr(_FLAGS).encode() + b"".join(path.read_bytes() for path in read))
    built = PROJECT_FOLDER / "build" / "line" / f"corruption-{digest.hexdigest()[:16]}.so"
    if not built.exists():
        includes = (*(f"-I{folder}" for folder in folders), f"-isystem{monocypher()}")
        _compile(built, [*map(str, sources), *includes, str(monocypher_object("cc", "-fPIC"))])
    return ctypes.CDLL(str(built))


def _compile(built: Path, arguments: list[str]) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    partial = built.with_suffix(f".{os.getpid()}.partial")
    try:
        subprocess.run(
            ["cc", *_FLAGS, "-shared", "-o", str(partial), *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise HostError("there is no C compiler (cc)", "install gcc") from error
    except subprocess.CalledProcessError as error:
        raise HostError(f"the firmware's frames do not compile:\n{error.stderr}") from error
    partial.rename(built)
