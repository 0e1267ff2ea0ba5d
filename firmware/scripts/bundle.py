"""Pre-script: the bundle's compiled head becomes part of the firmware.

The bundle is the folder in the environment variable CUTLAYER_BUNDLE, else build/bundle. Its sources are
copied below the build folder when they differ, and cutlayer_build.h beside them says

    CUTLAYER_NODE_BYTES    the node's memory for this model, so that what does not fit is a link error; what
                           its sensor takes beyond the arena comes on top (build_sensor.h)
    CUTLAYER_SENSOR_AUDIO  1: the microphone's recordings are sound; 0: head inputs (firmware/lib/recorded).
                           By the head's input, or as CUTLAYER_SENSOR in the environment says.
    CUTLAYER_INSECURE      1: no host needs a key. Where the board's JSON says so (cutlayer.insecure), because
                           it has no storage or no randomness, or the environment (CUTLAYER_INSECURE=1).

In the board's .ini, custom_engine = tflm builds the bundle's head for TensorFlow Lite Micro's interpreter;
custom_engine_bytes = N gives the interpreter that much RAM where the converter's figure is not enough.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

AUDIO_SHAPE = [49, 40, 1]
AUDIO_SCALE = 1.0 / 128.0
AUDIO_ZERO_POINT = -128
SENSORS = ("audio", "recorded")
ENGINES = {"compiled": "firmware", "tflm": "firmware/tflm"}  # and where the bundle has the head for them
SOURCE_SUFFIXES = (".c", ".h", ".cc")
# The bundle's sources are the project's, which do not see the libraries' headers by themselves.
TFLM_INCLUDES = (
    "$PROJECT_DIR/firmware/lib/tflm/include",
    "$PROJECT_LIBDEPS_DIR/$PIOENV/Chirale_TensorFLowLite/src",
)


class BundleError(Exception):
    pass


def bundle_folder(project: Path, environment: dict[str, str]) -> Path:
    """The bundle to build."""
    named = environment.get("CUTLAYER_BUNDLE")
    folder = project / (named or "build/bundle")
    if not (folder / "firmware" / "cutlayer_model.c").is_file():
        said = f"CUTLAYER_BUNDLE={named}" if named else "build/bundle (CUTLAYER_BUNDLE is not set)"
        raise BundleError(
            f"no bundle in {said}: {folder / 'firmware' / 'cutlayer_model.c'} does not exist\n"
            "next: cutlayer convert MODEL.keras --cut LAYER --board BOARD --data CALIB.npz --out build/bundle"
        )
    return folder


def sensor(bundle: Path, environment: dict[str, str]) -> str:
    """What the board's recordings are: "audio" or "recorded"."""
    named = environment.get("CUTLAYER_SENSOR")
    if named:
        if named not in SENSORS:
            raise BundleError(f"CUTLAYER_SENSOR={named} is not one of {', '.join(SENSORS)}")
        return named
    manifest = bundle / "manifest.json"
    given = json.loads(manifest.read_text()).get("input", {}) if manifest.is_file() else {}
    hears = (
        list(given.get("shape", [])) == AUDIO_SHAPE
        and given.get("scale") == AUDIO_SCALE
        and given.get("zero_point") == AUDIO_ZERO_POINT
    )
    return "audio" if hears else "recorded"


def head_folder(bundle: Path, engine: str, instruction_set: str = "portable") -> Path:
    """Where the bundle has its sources for the board's engine and instruction set."""
    if engine not in ENGINES:
        raise BundleError(f"custom_engine = {engine} is not one of {', '.join(ENGINES)}")
    folder = bundle / ENGINES[engine]
    fast = folder / instruction_set
    if engine == "compiled" and (fast / "cutlayer_model.c").is_file():
        return fast
    if not (folder / "cutlayer_model.c").is_file():
        raise BundleError(
            f"{bundle} has no head for custom_engine = {engine}: {folder} does not exist\n"
            "next: convert it again: cutlayer convert ... --board BOARD, for the board whose .ini says so"
        )
    return folder


def engine_bytes(given: str) -> list[str]:
    """custom_engine_bytes as definitions; nothing where it is not set."""
    if not given:
        return []
    if not given.isdecimal() or int(given) % 16 or not int(given):
        raise BundleError(f"custom_engine_bytes = {given} is not a multiple of 16")
    return [f"CUTLAYER_ENGINE_BYTES={given}u"]


def write_if_new(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        partial.rename(path)


def copy_sources(head: Path, folder: Path) -> None:
    """Copies the head's sources to `folder`, and takes away what an earlier bundle left there."""
    wanted = {path.name: path.read_bytes() for path in head.iterdir() if path.suffix in SOURCE_SUFFIXES}
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in SOURCE_SUFFIXES and path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        write_if_new(folder / name, content)


def link_limits(board) -> list[str]:
    """What the board's JSON says of the link's buffers, as definitions (cutlayer/node.h)."""
    limits = {
        "max_payload": "CL_NODE_MAX_PAYLOAD",
        "window_frames": "CL_NODE_WINDOW_FRAMES",
        "receive_bytes": "CL_NODE_RECEIVE_BYTES",
    }
    given = {name: board.get(f"cutlayer.{field}", None) for field, name in limits.items()}
    return [f"{name}={value}u" for name, value in given.items() if value is not None]


def line(board) -> list[str]:
    """What the board's JSON says of its UART, as definitions."""
    baud = board.get("cutlayer.baud", None)
    return [] if baud is None else [f"CUTLAYER_BAUD={baud}u"]


def host_limits(board) -> list[str]:
    """What the board's JSON lets a host do to the weights, as definitions (cutlayer/session.h, node.h)."""
    fields = {
        "gradient_norm_max": ("CL_GRADIENT_NORM_MAX", "{:f}f"),
        "learning_rate_max": ("CL_LEARNING_RATE_MAX", "{:f}f"),
        "step_ms": ("CL_NODE_STEP_MS", "{}u"),
    }
    given = {field: board.get(f"cutlayer.{field}", None) for field in fields}
    named = {field: value for field, value in given.items() if value is not None}
    for field, value in named.items():
        if not value > 0:
            raise BundleError(f"cutlayer.{field} of the board's JSON is {value}, must be above 0")
    return [f"{fields[field][0]}={fields[field][1].format(value)}" for field, value in named.items()]


def node_bytes(project: Path, sources: Path, folder: Path, definitions: list[str]) -> int:
    """cl_node_bytes of the model in `sources`, asked of a program for this computer; kept in `folder`."""
    core = project / "firmware" / "lib" / "cutlayer" / "src"
    include = project / "firmware" / "include"
    program = project / "firmware" / "scripts" / "node_bytes" / "main.c"
    compiled = [program, *sorted(sources.glob("*.c")), *sorted(core.rglob("*.c"))]
    digest = hashlib.sha256(repr(definitions).encode())
    for path in [
        *compiled,
        *sorted(sources.glob("*.h")),
        *sorted(core.rglob("*.h")),
        *sorted(include.rglob("*.h")),
    ]:
        digest.update(path.name.encode() + path.read_bytes())
    kept = folder / f"node_bytes-{digest.hexdigest()[:16]}"
    if kept.is_file():
        return int(kept.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / f"{kept.name}.program"
    command = ["gcc", "-std=c99", "-w", f"-I{include}", f"-I{core}", f"-I{sources}", "-o", str(binary)]
    command += [f"-D{definition}" for definition in definitions]
    command += ["-Wl,--unresolved-symbols=ignore-all"]  # kernels for another processor; none is called
    try:
        subprocess.run([*command, *map(str, compiled), "-lm"], check=True)
        text = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BundleError(f"the bundle's C does not compile for this computer: {error}") from error
    write_if_new(kept, text.encode())
    binary.unlink()
    return int(text)


def is_insecure(board, environment: dict[str, str]) -> bool:
    """Whether the firmware takes everybody's word, in plain."""
    return bool(board.get("cutlayer.insecure", False)) or environment.get("CUTLAYER_INSECURE") == "1"


def build_header(memory_bytes: int, sensor_name: str, *, insecure: bool) -> bytes:
    lines = [
        "// Made by firmware/scripts/bundle.py.",
        f"#define CUTLAYER_NODE_BYTES {memory_bytes}",
        f"#define CUTLAYER_SENSOR_AUDIO {int(sensor_name == 'audio')}",
        f"#define CUTLAYER_INSECURE {int(insecure)}",
    ]
    return ("\n".join(lines) + "\n").encode()


def main(env, environment) -> None:
    project, build = Path(env.subst("$PROJECT_DIR")), Path(env.subst("$BUILD_DIR"))
    sources = build / "bundle"
    try:
        bundle = bundle_folder(project, environment)
        engine = env.GetProjectOption("custom_engine", "compiled")
        board = env.BoardConfig()
        head = head_folder(bundle, engine, board.get("cutlayer.instruction_set", "portable"))
        copy_sources(head, sources)
        limits = link_limits(board) + engine_bytes(env.GetProjectOption("custom_engine_bytes", ""))
        allowed = host_limits(board)
        memory_bytes = node_bytes(project, sources, build / "node_bytes", limits)
        named = sensor(bundle, environment)
        if named == "audio" and not board.get("cutlayer.hears", True):
            raise BundleError(
                f"{bundle} has a head that hears, and {env['BOARD']} has no room for sound's features"
            )
        header = build_header(memory_bytes, named, insecure=is_insecure(board, environment))
        write_if_new(sources / "cutlayer_build.h", header)
    except BundleError as error:
        sys.stderr.write(f"error: {error}\n")
        env.Exit(1)
        return
    env.Append(CPPDEFINES=limits + line(board) + allowed)
    env.Append(CPPPATH=[str(sources), str(project / "firmware" / "port")])
    if engine == "tflm":
        env.Append(CPPPATH=list(TFLM_INCLUDES))
    env.BuildSources("$BUILD_DIR/model", str(sources))


if "Import" in globals():  # run by PlatformIO
    Import("env")  # noqa: F821
    main(env, os.environ)  # noqa: F821
