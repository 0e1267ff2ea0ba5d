"""RAM of the demo's training firmware, part by part, and the stack that it uses in QEMU.

What the linker gave out is split by the symbols of the firmware's ELF file; the node's memory, one symbol, by
the converter's memory table, which tests hold against the C. The parts and `rest` are all of it.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_kws.corpus import RECORDING_SAMPLES, WORDS
from cutlayer_kws.errors import DemoError

if TYPE_CHECKING:
    from cutlayer_boards.build import Firmware
    from cutlayer_boards.spec import BoardSpec
    from cutlayer_converter.bundle import Manifest, Optimizer
    from cutlayer_converter.trainable import Master
    from cutlayer_host.device import Device

NODE_MEMORY = "node_memory"
NODE_LINES = ("arena", "sensor", "trainable layer", "master weights", "optimizer", "gradient", "link buffers")
"""Of the memory table (cutlayer_converter.memory): how the lines begin that are in the node's memory."""

PARTS = {
    "ring": "receive ring",
    "sensor": "sensor",
    "node": "node",
    "saver": "storage",
    "monocypher": "keys",
    "guard": "keys",
    "keys": "keys",
}
"""Symbols of firmware/src and firmware/port that are parts by themselves."""

_NOISE_RMS = 3000.0
_RECORDINGS = 2
_STEPS = 3
_BATCH = 2
_RUN = 7


@dataclass(frozen=True, slots=True)
class TrainingRam:
    """RAM of one training firmware.

    Attributes:
        optimizer: That the board keeps memory for.
        master: What it keeps master weights and moments as.
        ram_bytes: All of it, the stack's share included.
        stack_used_bytes: Of the stack, the most that a training took.
        parts: Bytes by part; they sum to `ram_bytes`.
        firmware: The ELF file.
    """

    optimizer: Optimizer
    master: Master
    ram_bytes: int
    stack_used_bytes: int
    parts: dict[str, int]
    firmware: str


def measure_ram(
    folder: Path, build: Path, board: BoardSpec, optimizer: Optimizer, master: Master
) -> TrainingRam:
    """Converts the untrained network that `make_untrained` left in `folder`, builds its firmware, trains.

    Raises:
        CutlayerError: Whatever conversion, build or board raise.
    """
    from cutlayer_boards.build import build_firmware
    from cutlayer_kws import jobs

    bundle = folder / f"{optimizer}-{master}"
    manifest = jobs.convert_for(folder, WORDS, bundle, optimizer, master, board_name=board.name)
    firmware = build_firmware(board, bundle, build)
    parts = split_ram(firmware, manifest)
    used = asyncio.run(_stack_used(board, firmware, optimizer))
    return TrainingRam(optimizer, master, firmware.ram_bytes_static, used, parts, str(firmware.path))


def make_untrained(folder: Path) -> None:
    """The demo's network, untrained, in `folder`: converted, it takes as much as a trained one."""
    from cutlayer_converter.quiet import quiet_tensorflow
    from cutlayer_kws import jobs
    from cutlayer_kws.features import INPUT_SHAPE
    from cutlayer_kws.model import build_model, write_calibration

    quiet_tensorflow()
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    build_model(len(WORDS)).save(folder / jobs.MODEL_FILE)
    features = np.random.default_rng(0).integers(-128, 128, (16, *INPUT_SHAPE)).astype(np.int8)
    write_calibration(folder / jobs.CALIBRATION_FILE, features)


def split_ram(firmware: Firmware, manifest: Manifest) -> dict[str, int]:
    """Bytes by part, largest first and `rest` last.

    Raises:
        DemoError: The node's memory is not what the memory table says.
    """
    symbols = _ram_symbols(firmware.path)
    parts = {
        line.name: line.bytes
        for line in manifest.memory
        if line.section == "ram" and line.name.startswith(NODE_LINES)
    }
    # Each of the node's five areas is aligned to 16.
    if not 0 <= symbols.get(NODE_MEMORY, 0) - sum(parts.values()) < 5 * 16:
        raise DemoError(
            f"{firmware.path}: {NODE_MEMORY} has {symbols.get(NODE_MEMORY, 0)} bytes, "
            f"the memory table {sum(parts.values())}",
            "mend cutlayer_converter/memory.py",
        )
    for symbol, part in PARTS.items():
        parts[part] = parts.get(part, 0) + symbols.get(symbol, 0)
    parts["stack"] = firmware.sections[".stack"]
    parts = dict(sorted(parts.items(), key=lambda part: -part[1]))
    return {**parts, "rest": firmware.ram_bytes_static - sum(parts.values())}


def _ram_symbols(elf: Path) -> dict[str, int]:
    """Bytes of the variables in RAM by name; a static one within a function without its number."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    sizes: dict[str, int] = {}
    with elf.open("rb") as file:
        read = ELFFile(file)
        table = read.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        places = {read.get_section_index(name) for name in (".data", ".bss")}
        for symbol in table.iter_symbols():
            if symbol["st_shndx"] in places and symbol["st_info"]["type"] == "STT_OBJECT":
                name = symbol.name.split(".")[0]
                sizes[name] = sizes.get(name, 0) + symbol["st_size"]
    return sizes


async def _stack_used(board: BoardSpec, firmware: Firmware, optimizer: Optimizer) -> int:
    """The stack's paint after all that a board does: a key, sealed steps, saved, read and taken back.

    A board that keeps no key does the same in plain.
    """
    from cutlayer_boards.emulator import emulate
    from cutlayer_boards.keys import Keys
    from cutlayer_host.opening import connect
    from cutlayer_host.provisioning import provision

    with tempfile.TemporaryDirectory(prefix="cutlayer-ram-") as name:
        microphone = Path(name) / "noise.pcm"
        noise = np.random.default_rng(0).normal(0.0, _NOISE_RMS, _RECORDINGS * RECORDING_SAMPLES)
        microphone.write_bytes(noise.astype("<i2").tobytes())
        keys, storage = Keys(Path(name) / "keys.json"), Path(name) / "storage"
        running = emulate(board, firmware, microphone, storage=storage, provisioned=False)
        async with running as node:
            if not firmware.insecure:
                await provision(node.url, keys)
            async with connect(node.url, key=None if firmware.insecure else keys.find) as device:
                await _train(device, optimizer)
                return (await device.stats())["stack_bytes"]


async def _train(device: Device, optimizer: Optimizer) -> None:
    from cutlayer_host.codes import Optimizer as Named
    from cutlayer_host.codes import Section
    from cutlayer_host.host_messages import Configure
    from cutlayer_kws.lesson import ZERO_SUPPRESSED_INT8

    rng = np.random.default_rng(0)
    cut = device.welcome.cut_count - 1
    configuration = Configure(
        restart=True,
        cut=cut,
        activation_codec=ZERO_SUPPRESSED_INT8,
        optimizer=Named[optimizer.upper()],
        momentum=0.9,
        beta2=0.999,
        epsilon=1e-7,
        run=_RUN,
    )
    await device.configure(configuration)
    for step in range(1, _STEPS + 1):
        for number in range(_BATCH):
            smashed = await device.sample(step * _BATCH + number, number % _RECORDINGS, train=True)
            gradient = rng.integers(-127, 128, smashed.masked.size).astype(np.int8)
            gradient[smashed.masked] = 0
            device.gradient(smashed, gradient, 1e-3)
        await device.apply(step, _BATCH, 1e-3)
        await device.save(step)
    for section in Section:
        await device.read(section)
    await device.rescale(2.0 * device.welcome.output_scale, device.welcome.output_zero_point)
    await device.restore(_RUN, _STEPS)
