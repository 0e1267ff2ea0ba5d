"""`cutlayer emulate`: boards that stay until Ctrl-C."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutlayer_boards.emulator import Node
    from cutlayer_boards.spec import BoardSpec


@click.command()
@click.option("--board", "board_name", default="native", show_default=True, metavar="BOARD", help="To boot.")
@click.option(
    "-n", "--count", default=1, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="How many."
)
@click.option(
    "--bundle",
    default=Path("build/bundle"),
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that `cutlayer convert` wrote.",
)
@click.option(
    "--microphone",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the boards hear: PCM of 16 bits at 16 kHz, a second each, or raw int8 inputs for other heads.",
)
@click.option(
    "--microphone-live",
    "live",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the boards' live microphones hear: a file of such PCM that grows, as by arecord ... >> FILE; "
    "or, for a native board, a pipe (mkfifo FILE; arecord ... > FILE).",
)
@click.option(
    "--storage",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the boards keep what they learn, a file each; without, they forget it.",
)
@click.option(
    "--unprovisioned",
    is_flag=True,
    help="Leave new boards without a key, for `cutlayer provision`; else they and this computer get one.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Build the firmware without keys: hosts connect with --insecure, and all is plain.",
)
@click.option(
    "--emulator",
    type=click.Choice(["renode"]),
    help="Another emulator than the board's own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when the boards can be reached.")
def emulate(
    board_name: str,
    count: int,
    bundle: Path,
    microphone: Path | None,
    live: Path | None,
    storage: Path | None,
    unprovisioned: bool,
    insecure: bool,
    emulator: str | None,
    as_json: bool,
) -> None:
    """Boot boards without hardware and print where hosts reach them."""
    import asyncio

    from cutlayer_boards.spec import board

    spec = board(board_name)
    settings = {"live": live, "provisioned": not unprovisioned, "in_renode": emulator == "renode"}
    asyncio.run(
        _run(spec, bundle, microphone, _storage_files(storage, spec.name, count), insecure, settings, as_json)
    )


def _storage_files(folder: Path | None, board_name: str, count: int) -> list[Path | None]:
    """The boards' files in `folder`, which is made; None for each without a folder."""
    from cutlayer_boards.errors import BoardError

    if folder is None:
        return [None] * count
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BoardError(
            f"the folder {folder} cannot be made: {error.strerror}", "name another with --storage"
        ) from error
    return [folder / f"{board_name}-{number}.storage" for number in range(count)]


@contextlib.contextmanager
def _known(node: Node, *, keep: bool) -> Iterator[None]:
    """Puts a board's key into this computer's file of keys, to `keep` it or while the board runs."""
    from cutlayer_boards.keys import Keys

    keys = Keys.default()
    if node.device is None:
        yield
        return
    if keys.find(node.device.device_id) != node.device.secret:
        keys.add(node.device)
    try:
        yield
    finally:
        if not keep:
            keys.remove(node.device.device_id)


async def _run(
    spec: BoardSpec,
    bundle: Path,
    microphone: Path | None,
    files: list[Path | None],
    insecure: bool,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    import asyncio

    from cutlayer_boards.build import build_firmware
    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.emulator import emulate as run_board
    from cutlayer_boards.errors import BoardError

    with console().status(f"building firmware for {spec.name}"):
        firmware = await asyncio.to_thread(build_firmware, spec, bundle, insecure=insecure)
    if firmware.insecure:
        click.echo(
            f"WARNING: {spec.name} runs without keys: any host may train it, and all is plain", err=True
        )
    async with contextlib.AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(run_board(spec, firmware, microphone, storage=file, **settings))
            for file in files
        ]
        for node, file in zip(nodes, files, strict=True):
            stack.enter_context(_known(node, keep=file is not None))
        urls = [node.url for node in nodes]
        if as_json:
            print_json({"board": spec.name, "urls": urls, "ram_bytes": firmware.ram_bytes_static})
        else:
            for url in urls:
                click.echo(url)
            console().print("[dim]Ctrl-C ends them[/dim]")
        stopped = [asyncio.create_task(node.process.wait()) for node in nodes]
        await asyncio.wait(stopped, return_when=asyncio.FIRST_COMPLETED)
        gone = next(node for node in nodes if not node.running)
        raise BoardError(
            f"the board at {gone.url} stopped: " + ("\n".join(gone.log[-5:]) or "it said nothing")
        )
