"""Pre-script: third-party sources, from PyPI's sdists into build/third_party, as PlatformIO libraries.

Each is named by version and SHA-256; only what is needed is unpacked. Nothing is fetched when it is there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    library: str
    package: str
    version: str
    sha256: str
    wanted: tuple[str, ...]
    manifest: dict[str, object]


FRONTEND = "tensorflow/lite/experimental/microfrontend/lib"
PARTS = (
    "fft",
    "filterbank",
    "frontend",
    "log_lut",
    "log_scale",
    "noise_reduction",
    "pcan_gain_control",
    "window",
)

# kiss_fft_int16.cc is compiled as part of firmware/lib/kws/src/frontend.cc; the *_util.cc run on the building
# computer.
MICROFRONTEND = Source(
    library="microfrontend",
    package="pymicro-features",
    version="2.0.2",
    sha256="0d0bed7843ec78b6ced82d1a2dcddeb4fe5df61b3af80a281d0868c8e279c727",
    wanted=("LICENSE", "kissfft/", FRONTEND + "/"),
    manifest={
        "name": "microfrontend",
        "version": "2.0.2",
        "license": "Apache-2.0",
        "build": {
            "includeDir": ".",
            "srcDir": ".",
            "srcFilter": "-<*> " + " ".join(f"+<{FRONTEND}/{part}.cc>" for part in PARTS),
            "flags": "-w -DFIXED_POINT=16",
            "libArchive": True,
        },
    },
)

# What firmware/lib/guard seals frames with. BLAKE2b in a loop: unrolled it takes 13 KB of flash more, and
# saves a connection 3,000 of its 27,000 instructions on a Cortex-M4F.
MONOCYPHER = Source(
    library="monocypher",
    package="pymonocypher",
    version="4.0.3.4",
    sha256="5e56e3d3eb770a53e0b9f6274146663c11a11f3d0de5cd48e3be0428d1b07a4a",
    wanted=("LICENSE.txt", "monocypher.c", "monocypher.h"),
    manifest={
        "name": "monocypher",
        "version": "4.0.3",
        "license": "BSD-2-Clause OR CC0-1.0",
        "build": {
            "includeDir": ".",
            "srcDir": ".",
            "srcFilter": "-<*> +<monocypher.c>",
            "flags": "-w -DBLAKE2_NO_UNROLLING -ffunction-sections -fdata-sections",
            "libArchive": True,
        },
    },
)


class FetchError(Exception):
    pass


def ensure(source: Source, folder: Path) -> Path:
    """Fetches, verifies and unpacks `source` below `folder`, unless that is done; returns its folder."""
    library = folder / source.library
    stamp = library / ".sha256"
    done = hashlib.sha256(repr(source).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == done:
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{source.library}.", dir=folder.parent) as name:
        scratch = Path(name)
        archive = verified(download(source, scratch), source)
        unpacked = scratch / source.library
        unpack(archive, unpacked, source.wanted)
        (unpacked / "library.json").write_text(json.dumps(source.manifest, indent=2) + "\n")
        (unpacked / ".sha256").write_text(done)
        shutil.rmtree(library, ignore_errors=True)
        unpacked.rename(library)
    return library


def download(source: Source, folder: Path) -> Path:
    """The sdist, by pip: it looks where it is configured to, and checks the hash before it runs anything."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", ":all:", "--require-hashes", "--dest", str(folder), "-r", str(requirements)]
    if importlib.util.find_spec("setuptools"):  # else pip has to get it for the sdist's metadata
        command.append("--no-build-isolation")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tar.gz"))
    if result.returncode != 0 or len(archives) != 1:
        raise FetchError(
            f"{source.package} {source.version} cannot be had from PyPI\n"
            f"next: see that `pip download {source.package}=={source.version}` works\n{result.stderr}"
        )
    return archives[0]


def verified(archive: Path, source: Source) -> Path:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != source.sha256:
        raise FetchError(
            f"{archive.name} has SHA-256 {found}, not {source.sha256}: it is not the file we know"
        )
    return archive


def unpack(archive: Path, folder: Path, wanted: tuple[str, ...]) -> None:
    """Unpacks the files of `archive`, below its one top folder, that are `wanted` or in a folder that is."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            if not member.isfile() or ".." in Path(path).parts:
                continue
            if any(path == name or (name.endswith("/") and path.startswith(name)) for name in wanted):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                target.write_bytes(content.read())


def make_tables(library: Path, program: Path) -> Path:
    """Builds and runs `program` with `library`, on this computer; returns the folder of its header."""
    folder = library / "tables"
    stamp, header = folder / ".sha256", folder / "kws_tables.h"
    done = hashlib.sha256(program.read_bytes()).hexdigest()
    if header.is_file() and stamp.is_file() and stamp.read_text() == done:
        return folder
    if not shutil.which("g++"):
        raise FetchError("g++ is not installed\nnext: sudo apt-get install build-essential")
    with tempfile.TemporaryDirectory(prefix="tables.", dir=library) as name:
        binary = Path(name) / "tables"
        sources = [library / FRONTEND / f"{part}{end}.cc" for part in PARTS for end in ("", "_util")]
        found = [str(path) for path in sources if path.is_file()]
        command = ["g++", "-w", "-O1", "-DFIXED_POINT=16", f"-I{library}", f"-I{library / 'kissfft'}"]
        subprocess.run([*command, "-o", str(binary), str(program), *found], check=True)
        text = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
        folder.mkdir(exist_ok=True)
        partial = Path(name) / "kws_tables.h"
        partial.write_text(text)
        partial.rename(header)
        stamp.write_text(done)
    return folder


def main(env) -> None:
    project = Path(env.subst("$PROJECT_DIR"))
    folder = project / "build" / "third_party"
    try:
        monocypher = ensure(MONOCYPHER, folder)
        library = ensure(MICROFRONTEND, folder)
        tables = make_tables(library, project / "firmware" / "lib" / "kws" / "tables" / "tables.cc")
    except FetchError as error:
        sys.stderr.write(f"error: {error}\n")
        env.Exit(1)
        return
    shim = project / "firmware" / "lib" / "kws" / "src" / "shim"
    # As system headers, so that our warnings stay with our own files.
    system = [f"-isystem{folder}" for folder in (monocypher, library, library / "kissfft", shim)]
    env.Append(CCFLAGS=system, CPPPATH=[str(tables)])


if "Import" in globals():  # run by PlatformIO
    Import("env")  # noqa: F821
    main(env)  # noqa: F821
