"""`cutlayer devices`: the boards within reach."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import baud_option, insecure_option, json_option, key_finder

if TYPE_CHECKING:
    from cutlayer_host.guard import KeyFinder
    from cutlayer_host.transports import BlePeripheral, SerialPort

GREETING_SECONDS = 3.0
"""Opening the port resets some boards, whose bootloaders wait first."""


@click.command()
@click.argument("urls", nargs=-1)
@baud_option
@insecure_option
@json_option
def devices(urls: tuple[str, ...], baud: int | None, insecure: bool, as_json: bool) -> None:
    """List the boards on serial ports and on Bluetooth.

    With URLS, greet the boards there instead: emulated ones, say.
    """
    from cutlayer_boards.console import console

    key = key_finder(insecure=insecure)
    with console().status("greeting boards"):
        found, no_bluetooth = asyncio.run(_greet_all(urls, baud, key))
    if as_json:
        from cutlayer_boards.console import print_json

        print_json({"devices": found, "no_bluetooth": no_bluetooth})
        return
    _print(found, no_bluetooth)


async def _greet_all(
    urls: tuple[str, ...], baud: int | None, key: KeyFinder | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Returns what each board says, and why Bluetooth could not be asked."""
    from cutlayer_host.errors import TransportError
    from cutlayer_host.transports import SerialPort, scan_ble, serial_ports

    async def greet(*boards: SerialPort | BlePeripheral) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(_look_at(board, baud, key) for board in boards)))

    if urls:
        return await greet(*(SerialPort(url, "") for url in urls)), None
    async with asyncio.TaskGroup() as group:
        found = group.create_task(greet(*serial_ports()))
        try:
            peripherals, no_bluetooth = await scan_ble(), None
        except TransportError as error:
            peripherals, no_bluetooth = [], str(error)
    # One after another: a system's Bluetooth makes one connection at a time.
    near = [await _greet(peripheral.url, peripheral.title, key=key) for peripheral in peripherals]
    return [*found.result(), *near], no_bluetooth


async def _look_at(
    board: SerialPort | BlePeripheral, baud: int | None, key: KeyFinder | None
) -> dict[str, Any]:
    """Greets a board, unless it is behind a port that this user may not open."""
    from cutlayer_boards.usb import DIALOUT
    from cutlayer_host.transports import SerialPort

    if not isinstance(board, SerialPort):
        return await _greet(board.url, board.title, key=key)
    looks_like = {"looks_like": list(board.boards)} if board.boards else {}
    if not board.is_ours:
        error = {"error": f"{board.url}: you may not open this port", "next": DIALOUT}
        return {"url": board.url, "title": board.title, **looks_like, **error}
    found = await _greet(board.url, board.title, baud, key=key)
    if len(board.boards) == 1 and found.get("next"):
        found["next"] = found["next"].replace("flash BOARD", f"flash {board.boards[0]}")
    return {**found, **looks_like}


async def _greet(url: str, title: str, baud: int | None = None, *, key: KeyFinder | None) -> dict[str, Any]:
    from cutlayer_boards.errors import CutlayerError
    from cutlayer_host.codes import Flag
    from cutlayer_host.opening import connect
    from cutlayer_host.transports import at_baud, baud_of

    found: dict[str, Any] = {"url": url, "title": title}
    try:
        named = at_baud(url, baud) if baud else url
        async with connect(named, key=key, greeting_seconds=GREETING_SECONDS) as device:
            welcome, answered_at = device.welcome, device.url
    except CutlayerError as error:
        return {**found, "error": str(error), "next": error.hint}
    return {
        **found,
        "baud": baud_of(answered_at),
        "board": welcome.board,
        "firmware": ".".join(map(str, welcome.firmware_version)),
        "model_id": welcome.model_id.hex(),
        "trainable": bool(welcome.flags & Flag.TRAINABLE),
        "device_id": welcome.device_id.hex() if any(welcome.device_id) else None,
        "last_step": welcome.last_step,
        "recordings": welcome.recordings,
        "smashed_count": welcome.smashed_count,
        "arena_bytes": welcome.arena_bytes,
        "train_bytes": welcome.train_bytes,
    }


def _print(found: list[dict[str, Any]], no_bluetooth: str | None) -> None:
    from cutlayer_boards.console import console

    if no_bluetooth:
        console().print(no_bluetooth, soft_wrap=True, highlight=False, markup=False)
    if not found:
        console().print("no boards; plug one in, or name an emulated one: cutlayer devices URL")
    for device in found:
        # A URL stands alone on its line and is never cut: it is there to be copied.
        console().print(device["url"], style="bold", soft_wrap=True, highlight=False)
        for line in _about(device):
            console().print("  " + line, soft_wrap=True, highlight=False, markup=False)


def _about(device: dict[str, Any]) -> list[str]:
    title = [device["title"]] if device["title"] else []
    if "looks_like" in device:
        title.append("by its USB ids: " + " or ".join(device["looks_like"]))
    if "error" in device:
        said = device["error"].removeprefix(device["url"])
        said = re.sub(r"^\?baud=(\d+)", lambda rate: f"at {int(rate[1]):,} baud", said)
        said = said.removeprefix(": ")
        return [*title, said, *([f"next: {device['next']}"] if device["next"] else [])]
    at = f", {device['baud']:,} baud" if device["baud"] else ""
    return [
        *title,
        f"{device['board']}{at}, firmware {device['firmware']}, model {device['model_id'][:12]}",
        f"device {device['device_id']}, sealed" if device["device_id"] else "no key: what is sent is plain",
        f"{device['recordings']} recordings, step {device['last_step']}, "
        + ("its layer can be trained" if device["trainable"] else "its head cannot be trained"),
    ]
