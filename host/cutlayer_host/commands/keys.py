"""`cutlayer provision` and `cutlayer revoke`: the keys of boards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from cutlayer_host.commands.options import baud_option, json_option

if TYPE_CHECKING:
    from cutlayer_boards.keys import Keys

port_help = "serial:///dev/ttyACM0, /dev/ttyACM0, unix:///PATH."


@click.command()
@click.option("--port", "url", required=True, metavar="PORT", help=f"The board, at a cable: {port_help}")
@baud_option
@click.option("--name", help="What you call the board; else its id.")
@json_option
def provision(url: str, baud: int | None, name: str | None, as_json: bool) -> None:
    """Give a board a key, which this computer keeps too.

    From then on it takes sealed connections alone, of those who have the key. A board that has a key of this
    computer's gets a new one.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_host.provisioning import provision as give_key
    from cutlayer_host.transports import at_baud

    keys = _keys()
    if name is not None and name in keys.names().values():
        raise click.UsageError(
            f"another device is called {name}: name this one otherwise, or revoke that one"
        )
    device_id = asyncio.run(give_key(at_baud(url, baud) if baud else url, keys, name))
    if as_json:
        print_json({"device_id": device_id.hex(), "name": name, "keys": str(keys.path)})
        return
    console().print(
        f"{url} is device {name or device_id.hex()} and has a key; it is in {keys.path}, too: keep that safe",
        highlight=False,
        soft_wrap=True,
    )


@click.command()
@click.argument("device")
@click.option("--port", "url", metavar="PORT", help=f"The board, to drop its key too: {port_help}")
@baud_option
@json_option
def revoke(device: str, url: str | None, baud: int | None, as_json: bool) -> None:
    """Drop the key of DEVICE, a name or an id.

    This computer cannot connect to it any more. With --port the board drops its key too, and can be
    provisioned anew.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_host.provisioning import forget
    from cutlayer_host.transports import at_baud

    keys = _keys()
    device_id = keys.named(device)
    if url is not None:
        asyncio.run(forget(at_baud(url, baud) if baud else url, keys, device_id))
    keys.remove(device_id)
    if as_json:
        print_json({"device_id": device_id.hex(), "forgotten": url is not None, "keys": str(keys.path)})
        return
    said = f"the key of {device} is no more in {keys.path}"
    if url is None:
        said += (
            "; the board still has it and takes no other: without a copy of the key only flashing it and its "
        )
        said += "storage anew helps"
    console().print(said, highlight=False, soft_wrap=True)


def _keys() -> Keys:
    from cutlayer_boards.keys import Keys

    return Keys.default()
