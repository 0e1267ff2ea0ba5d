"""`cutlayer serve`: trains many boards at once, each with a tail of its own."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import (
    TrainOptions,
    baud_option,
    bundle_option,
    insecure_option,
    json_option,
    key_finder,
    store_option,
    train_options,
)
from cutlayer_host.commands.train import lessons, stopping
from cutlayer_host.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import TaskID

    from cutlayer_host.device import Device
    from cutlayer_host.guard import KeyFinder
    from cutlayer_host.run import Run
    from cutlayer_host.server import (
        Failed,
        Finished,
        Joined,
        Listening,
        Server,
        ServerEvent,
        Stopped,
    )


@click.command()
@click.option("--device", "urls", multiple=True, metavar="URL", help="A board; may be given many times.")
@click.option("--listen", metavar="URL", help="tcp://HOST:PORT for boards that dial in.")
@click.option(
    "--boards",
    type=click.IntRange(1),
    metavar="N",
    help="End after this many boards, else with the last --device.",
)
@baud_option
@insecure_option
@bundle_option
@store_option
@click.option(
    "--boards-at-once",
    type=click.IntRange(1),
    metavar="N",
    default=64,
    show_default=True,
    help="Boards beyond these wait.",
)
@click.option("--resume", is_flag=True, help="Go on with each board's last run.")
@train_options
@json_option
def serve(
    urls: tuple[str, ...],
    baud: int | None,
    insecure: bool,
    listen: str | None,
    boards: int | None,
    bundle: Path,
    store_folder: Path,
    boards_at_once: int,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train many boards, each with a tail of its own.

    The boards are those named with --device, and those that dial in at --listen.

    Each board has a run of its own in the store. --json prints one object once all boards are done.
    """
    if not urls and listen is None:
        raise click.UsageError("nobody to serve: give --device URL or --listen tcp://HOST:PORT")
    from cutlayer_host.transports import at_baud

    urls = tuple(at_baud(url, baud) for url in urls) if baud else urls
    key = key_finder(insecure=insecure)
    server = _server(bundle, store_folder, resume, boards_at_once, TrainOptions(**options), key)
    result = asyncio.run(_serve(server, urls, listen, boards, options["samples"]))
    if as_json:
        from cutlayer_boards.console import print_json

        print_json(result)
    results = result["boards"]
    failed = [result["device"] for result in results if "error" in result]
    if failed:
        raise HostError(f"{len(failed)} of {len(results)} boards were not trained: {', '.join(failed)}")


async def _serve(
    server: Server, urls: tuple[str, ...], listen: str | None, boards: int | None, samples: int
) -> dict[str, Any]:
    from cutlayer_boards.console import progress
    from cutlayer_host.report import StepDone, percentile_ms
    from cutlayer_host.server import Failed, Finished, Joined, Stepped, Stopped

    steps: list[StepDone] = []
    results: list[dict[str, Any]] = []
    bars = progress()
    tasks: dict[str, TaskID] = {}

    async def tell(event: ServerEvent) -> None:
        if isinstance(event, Joined):
            tasks[event.url] = bars.add_task(event.url, total=samples)
        if isinstance(event, Stepped):
            bars.update(tasks[event.url], completed=event.done.visited)
            steps.append(event.done)
            return
        if isinstance(event, Failed | Finished | Stopped) and event.url in tasks:
            bars.remove_task(tasks.pop(event.url))
        if isinstance(event, Finished):
            results.append(event.result)
        elif isinstance(event, Failed):
            results.append({"device": event.url, "error": str(event.error), "next": event.error.hint})
        elif isinstance(event, Stopped):
            said = f"stopped after step {event.last_step}"
            results.append({"device": event.url, "error": said, "next": "go on with --resume"})
        bars.console.print(_line(event), highlight=False, soft_wrap=True)

    with bars, stopping(server):
        await server.serve(tell, urls, listen=listen, boards=boards)
    return {
        "boards": results,
        "steps": len(steps),
        "step_median_ms": percentile_ms(steps, 50),
        "step_p99_ms": percentile_ms(steps, 99),
    }


def _server(
    bundle: Path,
    store_folder: Path,
    resume: bool,
    boards_at_once: int,
    options: TrainOptions,
    key: KeyFinder | None,
) -> Server:
    from cutlayer_host.server import Server
    from cutlayer_host.store import Store, device_name

    # Opened by the first board that comes, and its integrity checked once.
    store = functools.cache(lambda: Store(store_folder))

    def run(device: Device) -> Run:
        last = store().last_of(device_name(device.welcome, device.url)) if resume else None
        return last or store().begin(device.welcome, device.url, bundle, options.asked())

    return Server(
        lessons(bundle, options),
        run,
        key=key,
        boards_at_once=boards_at_once,
        patience_seconds=options.patience,
    )


def _line(event: Listening | Joined | Finished | Stopped | Failed) -> str:
    from cutlayer_host.server import Failed, Joined, Listening, Stopped

    if isinstance(event, Listening):
        return f"listening at {event.url}"
    if isinstance(event, Joined):
        return f"{event.url}: {event.board} joined"
    if isinstance(event, Failed):
        said = str(event.error).removeprefix(f"{event.url}: ")
        return f"{event.url}: error: {said}" + (f"\nnext: {event.error.hint}" if event.error.hint else "")
    if isinstance(event, Stopped):
        return f"{event.url}: stopped after step {event.last_step}; go on with --resume"
    result = event.result
    held_out = result.get("held_out")
    accuracy = f"; held out: accuracy {held_out['accuracy']:.1%}" if held_out else ""
    return f"{event.url}: done, {result['samples']} samples, loss {result['loss']:.3f}{accuracy}"
