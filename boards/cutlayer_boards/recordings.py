"""Recordings in a board's own memory: what a board without microphone and without emulator hears."""

from __future__ import annotations

import shlex
import string
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cutlayer_boards.errors import BoardError

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec

# Bytes of the recordings, bytes of the labels.
_EEPROM_HEADER = struct.Struct("<HH")  # firmware/port/arduino/recordings_eeprom.cpp
_FLASH_HEADER = struct.Struct("<II")  # firmware/port/cortex_m/flashed.c


def eeprom_image(microphone: Path, board: BoardSpec) -> bytes:
    """The image of the board's EEPROM with the recordings of `microphone` and their labels.

    Raises:
        BoardError: They do not fit.
    """
    return _image(microphone, _EEPROM_HEADER, board.eeprom_bytes, f"the EEPROM of {board.name}")


def flash_image(microphone: Path, board: BoardSpec) -> bytes:
    """What to flash at `board.recordings_origin`: the recordings of `microphone` and their labels.

    Raises:
        BoardError: They do not fit.
    """
    return _image(microphone, _FLASH_HEADER, board.recordings_bytes, f"the flash for them of {board.name}")


def image_for(microphone: Path, board: BoardSpec) -> bytes:
    """The image for the place where `board` keeps recordings.

    Raises:
        BoardError: The board has none, or the recordings do not fit or cannot be read.
    """
    from cutlayer_boards.spec import boards

    if not (board.eeprom_bytes or board.recordings_bytes):
        able = ", ".join(spec.name for spec in boards() if spec.eeprom_bytes or spec.recordings_bytes)
        raise BoardError(f"{board.name} has no memory for recordings", f"boards that have: {able}")
    return (eeprom_image if board.eeprom_bytes else flash_image)(microphone, board)


def write_command(image: Path, board: BoardSpec, port: str | None = None) -> str:
    """What a person types to put `image` on `board`."""
    names = {"SOURCE": image, "ORIGIN": f"{board.recordings_origin:#010x}", "UPLOAD_PORT": port or "PORT"}
    words = shlex.split(board.recordings_command)
    return shlex.join(string.Template(word).substitute(names) for word in words)


def _write(image: bytes, path: Path) -> None:
    """All of `image` or nothing."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            partial = Path(folder) / "image"
            partial.write_bytes(image)
            partial.replace(path)
    except OSError as error:
        raise BoardError(f"{path} cannot be written: {error}", "name another file with --out") from error


@click.command()
@click.option("--board", "board_name", required=True, metavar="BOARD", help="Whose memory it is for.")
@click.option(
    "--microphone",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="As for `cutlayer emulate`: one recording after another; FILE.labels beside it has a byte for each.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The image, plain bytes.",
)
@click.option("--port", metavar="PORT", help="Serial port, for the command that is printed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def recordings(board_name: str, microphone: Path, out: Path, port: str | None, as_json: bool) -> None:
    """Make the image of a board's own recordings.

    Prints the command that writes it. For boards without a microphone: they keep recordings in EEPROM, or
    in flash behind the firmware's. `cutlayer flash` does not touch them.
    """
    from cutlayer_boards.console import print_json
    from cutlayer_boards.spec import board

    spec = board(board_name)
    image = image_for(microphone, spec)
    _write(image, out)
    command = write_command(out, spec, port)
    if as_json:
        print_json({"board": spec.name, "image": str(out), "bytes": len(image), "command": command})
        return
    capacity = spec.eeprom_bytes or spec.recordings_bytes
    click.echo(
        f"{out}: {len(image):,} of {capacity:,} bytes; with {spec.name} plugged in, write it:", err=True
    )
    click.echo(command)


def _image(microphone: Path, header: struct.Struct, capacity_bytes: int, place: str) -> bytes:
    recordings = microphone.read_bytes()
    if not recordings:
        raise BoardError(
            f"{microphone} is empty: it has no recordings", "one recording after another goes there"
        )
    labels_file = microphone.with_name(microphone.name + ".labels")
    labels = labels_file.read_bytes() if labels_file.is_file() else b""
    needed_bytes = header.size + len(recordings) + len(labels)
    if needed_bytes > capacity_bytes:
        raise BoardError(
            f"the recordings of {microphone} and their labels take {needed_bytes} bytes, "
            f"and {place} has {capacity_bytes}",
            "give it fewer recordings",
        )
    return header.pack(len(recordings), len(labels)) + recordings + labels
