"""`cutlayer serve`: trains many boards at once, each with a tail of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import (
    LAST_RUN,
    TrainOptions,
    baud_option,
    bundle_option,
    json_option,
    store_option,
    train_options,
)
from cutlayer_host.commands.train import open_run, read_curriculum
from cutlayer_host.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import TaskID

    from cutlayer_host.device import Device
    from cutlayer_host.lesson import Lesson
    from cutlayer_host.run import Run
    from cutlayer_host.server import Failed, Finished, Joined, Listening, Server, ServerEvent
    from cutlayer_host.worker import TailWorker


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
@bundle_option
@store_option
@click.option("--resume", is_flag=True, help="Go on with each board's last run.")
@train_options
@json_option
def serve(
    urls: tuple[str, ...],
    baud: int | None,
    listen: str | None,
    boards: int | None,
    bundle: Path,
    store_folder: Path,
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
    server = _server(bundle, store_folder, resume, TrainOptions(**options))
    results = asyncio.run(_serve(server, urls, listen, boards, options["samples"]))
    if as_json:
        from cutlayer_boards.console import print_json

        print_json({"boards": results})
    failed = [result["device"] for result in results if "error" in result]
    if failed:
        raise HostError(f"{len(failed)} of {len(results)} boards were not trained: {', '.join(failed)}")


async def _serve(
    server: Server, urls: tuple[str, ...], listen: str | None, boards: int | None, samples: int
) -> list[dict[str, Any]]:
    from cutlayer_boards.console import progress
    from cutlayer_host.server import Failed, Finished, Joined, Stepped

    results: list[dict[str, Any]] = []
    bars = progress()
    tasks: dict[str, TaskID] = {}

    async def tell(event: ServerEvent) -> None:
        if isinstance(event, Joined):
            tasks[event.url] = bars.add_task(event.url, total=samples)
        if isinstance(event, Stepped):
            bars.update(tasks[event.url], completed=event.done.visited)
            return
        if isinstance(event, Failed | Finished) and event.url in tasks:
            bars.remove_task(tasks.pop(event.url))
        if isinstance(event, Finished):
            results.append(event.result)
        elif isinstance(event, Failed):
            results.append({"device": event.url, "error": str(event.error), "next": event.error.hint})
        bars.console.print(_line(event), highlight=False, soft_wrap=True)

    with bars:
        await server.serve(tell, urls, listen=listen, boards=boards)
    return results


def _server(bundle: Path, store_folder: Path, resume: bool, options: TrainOptions) -> Server:
    from cutlayer_converter.bundle import load_manifest
    from cutlayer_host.lesson import Lesson
    from cutlayer_host.server import Server
    from cutlayer_host.store import Store

    manifest = load_manifest(bundle)
    curriculum = read_curriculum(options)

    def lesson(device: Device, worker: TailWorker, _number: int) -> Lesson:
        return Lesson(
            device, bundle, manifest, worker, curriculum, options.train_settings(), options.tail_settings()
        )

    def run(device: Device, _number: int) -> Run:
        return open_run(Store(store_folder), device, bundle, options, LAST_RUN if resume else None)

    return Server(lesson, run)


def _line(event: Listening | Joined | Finished | Failed) -> str:
    from cutlayer_host.server import Failed, Joined, Listening

    if isinstance(event, Listening):
        return f"listening at {event.url}"
    if isinstance(event, Joined):
        return f"{event.url}: {event.board} joined"
    if isinstance(event, Failed):
        said = str(event.error).removeprefix(f"{event.url}: ")
        return f"{event.url}: error: {said}" + (f"\nnext: {event.error.hint}" if event.error.hint else "")
    result = event.result
    held_out = result.get("held_out")
    accuracy = f"; held out: accuracy {held_out['accuracy']:.1%}" if held_out else ""
    return f"{event.url}: done, {result['samples']} samples, loss {result['loss']:.3f}{accuracy}"
