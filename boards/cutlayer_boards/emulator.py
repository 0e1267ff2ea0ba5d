"""Boards without hardware: the native process, QEMU, simavr and Renode."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cutlayer_boards import renode, simavr
from cutlayer_boards.errors import BoardError
from cutlayer_boards.keys import DeviceKey
from cutlayer_boards.recordings import eeprom_image
from cutlayer_boards.storage import read_key, write_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from cutlayer_boards.build import Firmware
    from cutlayer_boards.spec import BoardSpec

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_RENODE_TIMEOUT_S = 120.0
_LOG_LINES = 200
_QEMU_WAITS = "info: QEMU waiting for connection on"

# An instruction takes 2^6 ns of QEMU's virtual time, more than a tick of 40 ns: none is missed by the count.
_ICOUNT = "shift=6"

# Before files on the command line of a board in QEMU (firmware/port/cortex_m).
_LIVE = "\nlive:"
_STORAGE = "\nstorage:"

_WITH_STORAGE = {"native", "qemu"}

# The multiplexer between the socket and the UART has a buffer of 32 bytes, which the UART alone has not: the
# board receives 4 times as fast. Its escape key is set to a value that no byte has.
_NO_ESCAPE_KEY = "0x100"


@dataclass(slots=True)
class Node:
    """A board that runs.

    Attributes:
        url: Where hosts reach it, as `open_transport` takes it.
        log: The latest lines of its console, which is not the link.
        device: Its name and key when it was started; None where it had none.
    """

    url: str
    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)
    device: DeviceKey | None = None

    @property
    def key(self) -> Callable[[bytes], bytes | None] | None:
        """What a host seals its connections with; None for plain ones."""
        return None if self.device is None else self.device.find

    @property
    def running(self) -> bool:
        """False once the board has stopped by itself."""
        return self.process.returncode is None


@contextlib.asynccontextmanager
async def emulate(
    board: BoardSpec,
    firmware: Firmware,
    microphone: Path | None = None,
    *,
    live: Path | None = None,
    storage: Path | None = None,
    provisioned: bool = True,
    count_instructions: bool = False,
    listen: str | None = None,
    in_renode: bool = False,
) -> AsyncIterator[Node]:
    """Runs `firmware` until the block ends, however it ends.

    Args:
        board: What the firmware was built for.
        firmware: From `build_firmware`.
        microphone: Recordings on the board's own side: sound (PCM s16le, 16 kHz, one second each) or, for
            heads that do not listen, int8 inputs, one after another. Labels are in `microphone`.labels, one
            byte a recording (255: none), where that file exists.
        live: What a live microphone hears, likewise on the board's own side: a file of sound (PCM s16le,
            16 kHz) that somebody else makes grow, made when it is not there. On the native board a named
            pipe does as well.
        storage: The file of the board's storage, made when it is not there. It outlives the board; only one
            board at a time may have it. Without, what the board keeps ends with it.
        provisioned: A board that can keep a key, and has none yet, gets a fresh one in its storage.
        count_instructions: QEMU's clock counts instructions: the ticks that the board reports, times
            `board.instructions_per_tick`, are instructions. Slower.
        listen: The native board only: "tcp:HOST:PORT", "unix:PATH" or "pty" in place of a socket of its own.
        in_renode: In Renode in place of the board's own emulator, or of none (boards/renode).

    Raises:
        BoardError: The emulator is missing, the microphone's file is, or the board does not start.
    """
    if in_renode:
        board = dataclasses.replace(board, emulator="renode")
    _check(board, microphone, count_instructions, listen)
    if live is not None:
        _check_live(board, live)
    has_storage = board.emulator in _WITH_STORAGE or (board.emulator == "renode" and board.storage_bytes > 0)
    keeps_keys = not firmware.insecure and has_storage
    if storage is not None:
        _check_storage(board, storage)
    # Short, because the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="cutlayer-") as name:
        if keeps_keys and storage is None:
            storage = Path(name) / "storage"
            _make_storage(storage)
        device = _device(storage, provisioned=provisioned) if keeps_keys and storage else None
        if board.emulator == "native":
            address = listen or f"unix:{name}/link"
            running = _native(_native_command(firmware, address, microphone, live, storage))
        elif board.emulator == "simavr":
            command = await _simavr_command(board, firmware, microphone, Path(name) / "eeprom")
            running = _simavr(command, Path(name) / "link")
        elif board.emulator == "renode":
            port = renode.free_port()
            flashed = None if device is None else storage
            script = renode.write_run(board, firmware, microphone, Path(name), port, flashed)
            running = _renode(renode.command(renode.program(), script), port)
        else:
            command = _qemu_command(board, firmware, microphone, live, storage, count_instructions)
            running = _qemu(command, board.serial, Path(name) / "link")
        async with running as node:
            node.device = device
            yield node


def _check(board: BoardSpec, microphone: Path | None, count_instructions: bool, listen: str | None) -> None:
    if board.emulator is None:
        raise BoardError(
            f"{board.name} has no emulator", f"flash it: pio run -e {board.environment} -t upload"
        )
    if microphone is not None and not microphone.is_file():
        raise BoardError(f"the microphone's file {microphone} does not exist")
    if board.emulator != "qemu" and count_instructions:
        raise BoardError(f"{board.name} cannot count instructions", "use --board qemu_mps2_an386")
    if board.emulator != "native" and listen:
        raise BoardError(f"{board.name} listens at a Unix socket of its own, not at {listen}")


def _check_live(board: BoardSpec, live: Path) -> None:
    if board.emulator in {"simavr", "renode"}:
        raise BoardError(f"{board.name} has no live microphone", "use --board native or qemu_mps2_an386")
    try:
        live.touch()
    except OSError as error:
        raise BoardError(f"the live microphone's file {live} cannot be made: {error}") from error
    if live.is_fifo() and board.emulator == "native":
        return
    if not live.is_file():
        raise BoardError(
            f"the live microphone {live} is not a file that grows",
            "append to a file: ... >> FILE; the native board takes a pipe (mkfifo), too",
        )


def _check_storage(board: BoardSpec, storage: Path) -> None:
    if board.emulator not in _WITH_STORAGE:
        raise BoardError(f"{board.name} keeps no storage in a file", "use --board native or qemu_mps2_an386")
    _make_storage(storage)


def _make_storage(storage: Path) -> None:
    try:
        storage.touch(mode=0o600)
    except OSError as error:
        raise BoardError(f"the storage {storage} cannot be made: {error}") from error


def _device(storage: Path, *, provisioned: bool) -> DeviceKey | None:
    """The name and key in a storage file, which gets them if it is to have some."""
    device = read_key(storage)
    if device is None and provisioned:
        device = DeviceKey.fresh()
        write_key(storage, device)
    return device


def _native_command(
    firmware: Firmware, address: str, microphone: Path | None, live: Path | None, storage: Path | None
) -> list[str]:
    command = [str(firmware.path.resolve()), "--listen", address]
    if microphone is not None:
        command += ["--microphone", str(microphone.resolve())]
    if live is not None:
        command += ["--microphone-live", str(live.resolve())]
    if storage is not None:
        command += ["--storage", str(storage.resolve())]
    return command


@contextlib.asynccontextmanager
async def _native(command: list[str]) -> AsyncIterator[Node]:
    async with _process(command, stdout=asyncio.subprocess.PIPE) as node:
        assert node.process.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(node.process.stdout.readline(), _START_TIMEOUT_S)
        if not line:
            raise BoardError("the native board does not start: " + await _last_words(node))
        node.url = json.loads(line)["url"]
        yield node


def _qemu_command(
    board: BoardSpec,
    firmware: Firmware,
    microphone: Path | None,
    live: Path | None,
    storage: Path | None,
    count_instructions: bool,
) -> list[str]:
    program = shutil.which("qemu-system-arm")
    if program is None:
        raise BoardError("qemu-system-arm is not installed", "sudo apt-get install qemu-system-arm")
    semihosting = "enable=on,target=native,arg=firmware"
    if microphone is not None:
        semihosting += f",arg={_escaped(str(microphone.resolve()))}"
    if live is not None:
        semihosting += f",arg={_escaped(_LIVE + str(live.resolve()))}"
    if storage is not None:
        semihosting += f",arg={_escaped(_STORAGE + str(storage.resolve()))}"
    command = [program, "-machine", str(board.machine), "-display", "none", "-monitor", "none"]
    command += ["-semihosting-config", semihosting, "-kernel", str(firmware.path.resolve())]
    if count_instructions:
        command += ["-icount", _ICOUNT]
    return command


@contextlib.asynccontextmanager
async def _qemu(command: list[str], serial: int, path: Path) -> AsyncIterator[Node]:
    """The link's socket listens before QEMU starts, and QEMU waits for the host before the board boots."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        link = f"socket,id=link,fd={listening.fileno()},server=on,wait=on,mux=on"
        command = [*command, "-chardev", link, "-echr", _NO_ESCAPE_KEY]
        command += ["-serial", "null"] * serial + ["-serial", "chardev:link"]
        async with _process(command, pass_fds=(listening.fileno(),)) as node:
            node.url = f"unix://{path}"
            yield node


async def _simavr_command(
    board: BoardSpec, firmware: Firmware, microphone: Path | None, eeprom: Path
) -> list[str]:
    program = await asyncio.to_thread(simavr.runner, board)
    if microphone is not None:
        await asyncio.to_thread(eeprom.write_bytes, eeprom_image(microphone, board))
    content = "" if microphone is None else str(eeprom)
    return [str(program), str(board.machine), str(board.clock_hz), str(firmware.path.resolve()), content]


@contextlib.asynccontextmanager
async def _simavr(command: list[str], path: Path) -> AsyncIterator[Node]:
    """As QEMU: the socket listens before the board boots, and the board boots with its first host."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        descriptor = listening.fileno()
        async with _process([*command, str(descriptor)], pass_fds=(descriptor,)) as node:
            node.url = f"unix://{path}"
            yield node


@contextlib.asynccontextmanager
async def _renode(command: list[str], port: int) -> AsyncIterator[Node]:
    """The board runs, and its link listens, when the script's last line is on Renode's console."""
    async with _process(command, stdout=asyncio.subprocess.PIPE) as node:
        reader = asyncio.create_task(_read_monitor(node))
        try:
            ready = False
            with contextlib.suppress(TimeoutError):
                ready = await asyncio.wait_for(asyncio.shield(reader), _RENODE_TIMEOUT_S)
            if not ready:
                raise BoardError("Renode does not start the board: " + await _last_words(node))
            reader = asyncio.create_task(_read_monitor(node, until=None))
            node.url = f"tcp://127.0.0.1:{port}"
            yield node
        finally:
            await _stop(node.process)
            await reader


async def _read_monitor(node: Node, until: str | None = renode.READY) -> bool:
    """Keeps what Renode says, up to the line `until` or its end. Returns whether that line came.

    A command that fails ends the script, but not Renode: that says why and waits for the next command.
    """
    assert node.process.stdout is not None
    assert node.process.stdin is not None
    async for line in node.process.stdout:
        text = line.decode(errors="replace").rstrip()
        node.log.append(text)
        del node.log[:-_LOG_LINES]
        if until is not None and until in text:
            return True
        if renode.FAILED in text:
            node.process.stdin.write(renode.QUIT)
    return False


def _escaped(value: str) -> str:
    """A value in QEMU's comma-separated options."""
    return value.replace(",", ",,")


@contextlib.asynccontextmanager
async def _process(
    command: Sequence[str], *, stdout: int = asyncio.subprocess.DEVNULL, pass_fds: tuple[int, ...] = ()
) -> AsyncIterator[Node]:
    """A child that ends with the block, and with this process however that ends; its stderr is the log."""
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "KILL", *command]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=pass_fds,
    )
    node = Node(url="", process=process)
    reader = asyncio.create_task(_read_log(node))
    try:
        yield node
    finally:
        await _stop(process)
        await reader


async def _read_log(node: Node) -> None:
    assert node.process.stderr is not None
    async for line in node.process.stderr:
        text = line.decode(errors="replace").rstrip()
        if _QEMU_WAITS in text:
            continue
        node.log.append(text)
        del node.log[:-_LOG_LINES]


async def _last_words(node: Node) -> str:
    await _stop(node.process)
    return "\n".join(node.log) or f"it ended with code {node.process.returncode} and said nothing"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
