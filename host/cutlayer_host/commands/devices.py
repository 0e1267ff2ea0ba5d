"""`cutlayer devices`: the boards within reach."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import json_option

if TYPE_CHECKING:
    from cutlayer_host.transports import BlePeripheral, SerialPort

GREETING_SECONDS = 2.0


@click.command()
@click.argument("urls", nargs=-1)
@json_option
def devices(urls: tuple[str, ...], as_json: bool) -> None:
    """List the boards on serial ports and on Bluetooth.

    With URLS, greet the boards there instead: emulated ones, say.
    """
    found, no_bluetooth = asyncio.run(_greet_all(urls))
    if as_json:
        from cutlayer_boards.console import print_json

        print_json({"devices": found, "no_bluetooth": no_bluetooth})
        return
    _print(found, no_bluetooth)


async def _greet_all(urls: tuple[str, ...]) -> tuple[list[dict[str, Any]], str | None]:
    """Returns what each board says, and why Bluetooth could not be asked."""
    from cutlayer_host.errors import TransportError
    from cutlayer_host.transports import SerialPort, scan_ble, serial_ports

    async def greet(*boards: SerialPort | BlePeripheral) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(_look_at(board) for board in boards)))

    if urls:
        return await greet(*(SerialPort(url, "") for url in urls)), None
    async with asyncio.TaskGroup() as group:
        found = group.create_task(greet(*serial_ports()))
        try:
            peripherals, no_bluetooth = await scan_ble(), None
        except TransportError as error:
            peripherals, no_bluetooth = [], str(error)
    # One after another: a system's Bluetooth makes one connection at a time.
    near = [await _greet(peripheral.url, peripheral.title) for peripheral in peripherals]
    return [*found.result(), *near], no_bluetooth


async def _look_at(board: SerialPort | BlePeripheral) -> dict[str, Any]:
    """Greets a board, unless it is behind a port that this user may not open."""
    from cutlayer_boards.usb import DIALOUT
    from cutlayer_host.transports import SerialPort

    if not isinstance(board, SerialPort):
        return await _greet(board.url, board.title)
    looks_like = {"looks_like": list(board.boards)} if board.boards else {}
    if not board.is_ours:
        error = f"{board.url}: you may not open this port: {DIALOUT}"
        return {"url": board.url, "title": board.title, **looks_like, "error": error}
    return {**await _greet(board.url, board.title), **looks_like}


async def _greet(url: str, title: str) -> dict[str, Any]:
    from cutlayer_boards.errors import CutlayerError
    from cutlayer_host.device import connect
    from cutlayer_host.messages import Flag

    found: dict[str, Any] = {"url": url, "title": title}
    try:
        async with connect(url, greeting_seconds=GREETING_SECONDS) as device:
            welcome = device.welcome
    except CutlayerError as error:
        return {**found, "error": str(error)}
    return {
        **found,
        "board": welcome.board,
        "firmware": ".".join(map(str, welcome.firmware_version)),
        "model_id": welcome.model_id.hex(),
        "trainable": bool(welcome.flags & Flag.TRAINABLE),
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
            console().print("  " + line, highlight=False, markup=False)


def _about(device: dict[str, Any]) -> list[str]:
    title = [device["title"]] if device["title"] else []
    if "looks_like" in device:
        title.append("by its USB ids: " + " or ".join(device["looks_like"]))
    if "error" in device:
        return [*title, device["error"].removeprefix(f"{device['url']}: ")]
    return [
        *title,
        f"{device['board']}, firmware {device['firmware']}, model {device['model_id'][:12]}",
        f"{device['recordings']} recordings, step {device['last_step']}, "
        + ("its layer can be trained" if device["trainable"] else "its head cannot be trained"),
    ]
