"""`cutlayer run`: convert, build, boot and train in one go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_boards.errors import CutlayerError
from cutlayer_host.commands.options import (
    TrainOptions,
    baud_option,
    insecure_option,
    json_option,
    key_finder,
    store_option,
    train_options,
)
from cutlayer_host.commands.train import new_run, report_result, train_device

if TYPE_CHECKING:
    from cutlayer_boards.build import Firmware
    from cutlayer_boards.spec import BoardSpec


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--cut", required=True, metavar="LAYER", help="Layer whose output is the smashed data.")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Representative inputs, CALIB.npz."
)
@click.option(
    "--board", "board_name", default="native", show_default=True, metavar="BOARD", help="To build for."
)
@click.option(
    "--device", "url", metavar="URL", help="A board that is flashed already, in place of an emulated one."
)
@baud_option
@insecure_option
@click.option(
    "--microphone",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What an emulated board hears; see `cutlayer emulate`.",
)
@click.option(
    "--bundle",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/bundle"),
    show_default=True,
    help="Where the bundle goes.",
)
@store_option
@train_options
@json_option
@click.pass_context
def run(
    context: click.Context,
    /,
    model: Path,
    cut: str,
    data: Path,
    board_name: str,
    url: str | None,
    baud: int | None,
    insecure: bool,
    microphone: Path | None,
    bundle: Path,
    store_folder: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert MODEL, build, boot and train in one go."""
    from cutlayer_boards.spec import board
    from cutlayer_host.transports import at_baud

    train = TrainOptions(**options)
    spec = board(board_name)
    key = key_finder(insecure=insecure)
    if url is None and spec.insecure and not insecure:
        raise CutlayerError(f"{spec.name} keeps no key", "connect in plain: --insecure")
    # Through the command line and not by import: the host does not depend on the converter.
    convert = command_of(context, "convert")
    context.invoke(
        convert,
        model=str(model),
        cut=cut,
        board_name=spec.name,
        data=str(data),
        out=str(bundle),
        optimizer=train.optimizer,
        classes=None,
        verify=False,
        as_json=False,
    )
    if url is None:
        result = asyncio.run(
            _train_emulated(spec, bundle, microphone, train, store_folder, insecure=insecure)
        )
    else:
        url = at_baud(url, baud) if baud else url
        result = asyncio.run(train_device(url, bundle, train, new_run(store_folder, bundle, train), key=key))
    report_result(result, as_json)


async def _train_emulated(
    spec: BoardSpec,
    bundle: Path,
    microphone: Path | None,
    options: TrainOptions,
    store_folder: Path,
    *,
    insecure: bool,
) -> dict[str, Any]:
    from cutlayer_boards.emulator import emulate

    firmware = await _build(spec, bundle, insecure=insecure)
    async with emulate(spec, firmware, microphone) as node:
        open_run = new_run(store_folder, bundle, options)
        return await train_device(node.url, bundle, options, open_run, key=node.key)


async def _build(spec: BoardSpec, bundle: Path, *, insecure: bool) -> Firmware:
    from cutlayer_boards.build import build_firmware
    from cutlayer_boards.console import console

    with console().status(f"building firmware for {spec.name}"):
        return await asyncio.to_thread(build_firmware, spec, bundle, insecure=insecure)


def command_of(context: click.Context, name: str) -> click.Command:
    """A command of the program, for what the host may not import."""
    root = context.find_root()
    command = root.command.get_command(root, name) if isinstance(root.command, click.Group) else None
    if command is None:
        raise CutlayerError(
            f"there is no command {name}", "install cutlayer again: its entry points are missing"
        )
    return command
