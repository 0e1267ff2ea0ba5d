"""`cutlayer teach`: somebody at a board with a microphone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import insecure_option, key_finder

if TYPE_CHECKING:
    from cutlayer_host.guard import KeyFinder
    from cutlayer_kws.teach import TeachSettings

DEFAULT_BUNDLE = Path("build/demo/seed0/bundle")


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@click.option("--device", "url", help="The board; without it, the one serial port that there is.")
@insecure_option
@click.option(
    "--bundle",
    default=DEFAULT_BUNDLE,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The bundle that the board runs.",
)
@click.option(
    "--rounds",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="How often each word is asked for.",
)
@click.option("--batch-size", default=2, show_default=True, type=click.IntRange(1, 64), help="Words a step.")
@click.option(
    "--learning-rate",
    default=3e-3,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Of the tail and of the board's layer.",
)
@click.option(
    "--out",
    default=Path("build/teach"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="New folder for the tail and what came of the lesson.",
)
@click.option("--resume", is_flag=True, help="Go on with the lesson in --out, if the board has stayed on.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the words' order.")
@click.option("--json", "as_json", is_flag=True, help="Print what happens, one JSON object a line.")
def teach(
    words: tuple[str, ...],
    url: str | None,
    insecure: bool,
    bundle: Path,
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Teach a board WORDs: say each when asked, and watch it learn.

    Ctrl-C stops and saves, and --resume goes on; a second Ctrl-C leaves at once.
    """
    import asyncio

    from cutlayer_kws.teach import TeachSettings

    key = key_finder(insecure=insecure)
    asyncio.run(_teach(url, key, bundle, out, TeachSettings(words=words, **options), as_json))


async def _teach(
    url: str | None,
    key: KeyFinder | None,
    bundle: Path,
    out: Path,
    settings: TeachSettings,
    as_json: bool,
) -> None:
    import asyncio
    import contextlib
    import signal

    from cutlayer_converter.bundle import load_manifest
    from cutlayer_host.opening import connect
    from cutlayer_host.worker import TailWorker
    from cutlayer_kws.errors import TeachError
    from cutlayer_kws.teach import Stopping, labels_of, teach
    from cutlayer_kws.teach_screen import screen

    if not (bundle / "manifest.json").is_file():
        raise TeachError(
            f"{bundle}: no bundle there",
            "make the demo's with `cutlayer demo kws`, or name one with --bundle",
        )
    manifest = load_manifest(bundle)
    labels_of(settings.words, manifest)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, lambda *_: leave())
        stopping.set()
        tell(Stopping())

    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends without saving
        loop.add_signal_handler(signal.SIGINT, stop)
    url = url or only_port()
    with screen(as_json=as_json) as tell:
        async with connect(url, key=key) as device, TailWorker() as worker:
            await teach(device, bundle, manifest, out, worker, settings, tell, stopping)


def leave() -> None:
    """Ends this process now, whatever its threads do; what is on disk is whole."""
    import os

    from cutlayer_boards.console import console
    from cutlayer_host.cli import EXIT_INTERRUPTED

    if console().is_terminal:
        console().show_cursor(True)
    console().print("interrupted")
    os._exit(EXIT_INTERRUPTED)


def only_port() -> str:
    """The one serial port of this computer.

    Raises:
        TeachError: there is none, or there are several.
    """
    from cutlayer_host.transports import serial_ports
    from cutlayer_kws.errors import TeachError

    ports = serial_ports()
    if len(ports) != 1:
        found = ", ".join(port.url for port in ports) or "none"
        raise TeachError(f"which board? serial ports here: {found}", "name it with --device URL")
    return ports[0].url
