"""`cutlayer devices`: the boards within reach."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from cutlayer_host.commands.options import json_option

GREETING_SECONDS = 2.0


@click.command()
@click.argument("urls", nargs=-1)
@json_option
def devices(urls: tuple[str, ...], as_json: bool) -> None:
    """List serial ports and the boards behind them.

    With URLS, greet the boards there instead: emulated ones, say.
    """
    found = asyncio.run(_greet_all(urls))
    if as_json:
        from cutlayer_boards.console import print_json

        print_json({"devices": found})
        return
    _print_table(found)


async def _greet_all(urls: tuple[str, ...]) -> list[dict[str, Any]]:
    from cutlayer_host.transports import SerialPort, serial_ports

    ports = [SerialPort(url, "") for url in urls] if urls else serial_ports()
    return list(await asyncio.gather(*(_greet(port.url, port.title) for port in ports)))


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


def _print_table(found: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from cutlayer_boards.console import console

    if not found:
        console().print("no serial ports; plug a board in, or name an emulated one: cutlayer devices URL")
        return
    table = Table("url", "board", "firmware", "model", "step", "recordings")
    for device in found:
        if "error" in device:
            table.add_row(device["url"], "-", device["title"], device["error"])
        else:
            table.add_row(
                device["url"],
                device["board"],
                device["firmware"],
                device["model_id"][:12],
                str(device["last_step"]),
                str(device["recordings"]),
            )
    console().print(table)
