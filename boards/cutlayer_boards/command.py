"""`cutlayer emulate`: boards that stay until Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import click


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
    emulator: str | None,
    as_json: bool,
) -> None:
    """Boot boards without hardware and print where hosts reach them."""
    import asyncio

    from cutlayer_boards.spec import board

    spec = board(board_name)
    asyncio.run(_run(spec.name, count, bundle, microphone, live, storage, emulator == "renode", as_json))


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


async def _run(
    board_name: str,
    count: int,
    bundle: Path,
    microphone: Path | None,
    live: Path | None,
    storage: Path | None,
    in_renode: bool,
    as_json: bool,
) -> None:
    import asyncio
    import contextlib

    from cutlayer_boards.build import build_firmware
    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.emulator import emulate as run_board
    from cutlayer_boards.errors import BoardError
    from cutlayer_boards.spec import board

    spec = board(board_name)
    files = _storage_files(storage, spec.name, count)
    with console().status(f"building firmware for {spec.name}"):
        firmware = await asyncio.to_thread(build_firmware, spec, bundle)
    async with contextlib.AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                run_board(spec, firmware, microphone, live=live, storage=file, in_renode=in_renode)
            )
            for file in files
        ]
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
