"""What is known of a board: boards/NAME.json, which PlatformIO reads too."""

from __future__ import annotations

import configparser
import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cutlayer_boards.errors import BoardError

BOARDS_FOLDER = Path(__file__).resolve().parents[1]
PROJECT_FOLDER = BOARDS_FOLDER.parent
ENGINES: tuple[Literal["compiled", "tflm"], ...] = ("compiled", "tflm")

InstructionSet: TypeAlias = Literal["portable", "long-multiply", "armv7e-m"]
INSTRUCTION_SETS: tuple[InstructionSet, ...] = ("portable", "long-multiply", "armv7e-m")
"""What kernels need beyond plain C; a processor runs those of the ones before its own too."""


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """A board that cutlayer builds firmware for.

    Attributes:
        name: As in `--board NAME`, boards/NAME.json and boards/NAME.ini.
        title: For people.
        environment: The PlatformIO environment, `pio run -e ENVIRONMENT`: the name, or a further one of
            boards/NAME.ini with another engine.
        ram_bytes: All RAM that the linker gives out, the stack in it.
        flash_bytes: All flash that the linker gives out.
        stack_bytes: What of the RAM is kept for the stack.
        emulator: How it runs without hardware: "native" is a process of this computer.
        machine: QEMU's or simavr's name of the machine.
        serial: Which of the machine's UARTs is the link, as QEMU counts them.
        instructions_per_tick: Of the port's counter while it counts instructions; None where it cannot.
        instruction_set: What the converter may choose kernels for.
        clock_hz: Of simavr's chip.
        baud: Of the UART that is the link, for firmware (CUTLAYER_BAUD) and host; USB has no pace. None
            where the link is no serial line.
        eeprom_bytes: That recordings may lie in; 0 without.
        recordings_origin: Address of the flash that is kept for recordings, not in `flash_bytes`.
        recordings_bytes: And how large that is; 0 where there is none.
        recordings_command: What writes an image of recordings, as a person types it, with $SOURCE, $ORIGIN
            and $UPLOAD_PORT to fill in; "" where the board has no place for them.
        storage_origin: Address of the flash that is kept for the board's storage, not in `flash_bytes`.
        storage_bytes: And how large that is; 0 where there is none.
        max_payload: The longest payload that the node takes (CL_NODE_MAX_PAYLOAD).
        window_frames: Frames that it holds out of order plus one (CL_NODE_WINDOW_FRAMES).
        receive_bytes: The port's ring of received bytes (CL_NODE_RECEIVE_BYTES).
        insecure: It keeps no key, having no storage or no randomness: all its connections are plain.
        constants_in_ram: True where tables are copied to RAM at start (AVR).
        node_bytes: The node's struct, and other static RAM that the memory table does not name, rounded up.
        code_bytes: Core, port, C library and the tables' structs, rounded up: the linker's map has the sum.
        engine: What runs the head before the trainable layer (the environment's custom_engine): "compiled",
            the firmware's own kernels, or "tflm", TensorFlow Lite Micro's interpreter.
        hwids: USB vendor and product ids that the board shows.
        apt_packages: What Debian and Ubuntu call compiler and emulator; "" if PlatformIO fetches it.
    """

    name: str
    title: str
    environment: str
    ram_bytes: int
    flash_bytes: int
    stack_bytes: int
    emulator: Literal["native", "qemu", "simavr", "renode"] | None
    machine: str | None
    serial: int
    instructions_per_tick: float | None
    instruction_set: InstructionSet
    clock_hz: int
    baud: int | None
    eeprom_bytes: int
    recordings_origin: int
    recordings_bytes: int
    recordings_command: str
    storage_origin: int
    storage_bytes: int
    max_payload: int
    window_frames: int
    receive_bytes: int
    insecure: bool
    constants_in_ram: bool
    node_bytes: int
    code_bytes: int
    engine: Literal["compiled", "tflm"]
    hwids: tuple[tuple[int, int], ...]
    apt_packages: str

    def kernels_for(self, wanted: InstructionSet | None) -> InstructionSet:
        """The instruction set to choose kernels for: `wanted`, or the board's own for None.

        BoardError when the board has less than `wanted`.
        """
        there = INSTRUCTION_SETS[: INSTRUCTION_SETS.index(self.instruction_set) + 1]
        if wanted is not None and wanted not in there:
            message = f"{self.name} cannot run kernels for {wanted}"
            raise BoardError(message, f"it runs those for {' or '.join(there)}")
        return wanted or self.instruction_set


def board(name: str) -> BoardSpec:
    """The board of that name, or of that environment with another engine.

    BoardError names those that there are.
    """
    known = {spec.environment: spec for plain in boards() for spec in (plain, *_with_other_engines(plain))}
    if name not in known:
        raise BoardError(f"there is no board {name!r}", f"boards: {', '.join(known)}")
    return known[name]


@functools.cache
def boards() -> tuple[BoardSpec, ...]:
    """All boards, by name."""
    found = tuple(_read(path) for path in sorted(BOARDS_FOLDER.glob("*.json")))
    if not found:
        raise BoardError(
            f"{BOARDS_FOLDER} has no boards", "run cutlayer from its source tree: pip install --editable ."
        )
    return found


def _read(path: Path) -> BoardSpec:
    data = json.loads(path.read_text())
    own, build, upload = data.get("cutlayer", {}), data["build"], data["upload"]
    return BoardSpec(
        name=path.stem,
        title=data["name"],
        environment=path.stem,
        ram_bytes=upload["maximum_ram_size"],
        flash_bytes=upload["maximum_size"],
        stack_bytes=own["stack_bytes"],
        emulator=own.get("emulator"),
        machine=own.get("machine"),
        serial=own.get("serial", 0),
        instructions_per_tick=own.get("instructions_per_tick"),
        instruction_set=own.get("instruction_set", "portable"),
        clock_hz=int(build.get("f_cpu", "0").rstrip("L")),
        baud=own.get("baud"),
        eeprom_bytes=own.get("eeprom_bytes", 0),
        recordings_origin=int(own.get("recordings_origin", "0"), 0),
        recordings_bytes=own.get("recordings_bytes", 0),
        recordings_command=upload.get("recordings_command", ""),
        storage_origin=int(own.get("storage_origin", "0"), 0),
        storage_bytes=own.get("storage_bytes", 0),
        max_payload=own.get("max_payload", 520),
        window_frames=own.get("window_frames", 5),
        receive_bytes=own.get("receive_bytes", 3072),
        insecure=own.get("insecure", False),
        constants_in_ram=own.get("constants_in_ram", False),
        node_bytes=own.get("node_bytes", 1024),
        code_bytes=own.get("code_bytes", 48 * 1024),
        engine=_engine(path.with_suffix(".ini"), path.stem),
        hwids=tuple((int(vendor, 16), int(product, 16)) for vendor, product in build.get("hwids", [])),
        apt_packages=build.get("apt_packages", ""),
    )


def _with_other_engines(spec: BoardSpec) -> list[BoardSpec]:
    """The board once for each further environment of its .ini that names an engine."""
    path, ini = BOARDS_FOLDER / f"{spec.name}.ini", configparser.ConfigParser(interpolation=None)
    ini.read(path)
    environments = [
        section.removeprefix("env:") for section in ini if ini.has_option(section, "custom_engine")
    ]
    return [
        dataclasses.replace(spec, environment=environment, engine=_engine(path, environment))
        for environment in environments
        if environment != spec.environment
    ]


def _engine(path: Path, environment: str) -> Literal["compiled", "tflm"]:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(path)
    named = ini.get(f"env:{environment}", "custom_engine", fallback="compiled")
    for engine in ENGINES:
        if named == engine:
            return engine
    raise BoardError(f"{path}: custom_engine = {named} is not one of {', '.join(ENGINES)}")
