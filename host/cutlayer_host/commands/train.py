"""`cutlayer train`: trains one board and its tail."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from cutlayer_host.commands.options import (
    TrainOptions,
    baud_option,
    insecure_option,
    json_option,
    key_finder,
    resume_option,
    store_option,
    train_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cutlayer_host.device import Device
    from cutlayer_host.guard import KeyFinder
    from cutlayer_host.lesson import Lesson
    from cutlayer_host.report import StepDone
    from cutlayer_host.run import Run
    from cutlayer_host.server import Reconnect, Server
    from cutlayer_host.store import Store
    from cutlayer_host.worker import TailWorker

    RunOpener: TypeAlias = Callable[[Device], Run]

WEAR_HOURS = 0.25
"""How long a training has to be before it tells how fast a board's storage wears."""


@click.command()
@click.option(
    "--device",
    "url",
    required=True,
    metavar="URL",
    help="serial:///dev/ttyACM0, ble://NAME, tcp://HOST:PORT, unix:///PATH.",
)
@baud_option
@insecure_option
@click.option(
    "--bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `cutlayer convert` wrote; a run that is resumed knows it.",
)
@store_option
@resume_option
@train_options
@json_option
def train(
    url: str,
    baud: int | None,
    insecure: bool,
    bundle: Path | None,
    store_folder: Path,
    resume: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a board and the tail of its bundle.

    Labels come from the board, or from --labels. A board with another model than the bundle's is refused.

    Ctrl-C stops after the step in hand. Whatever ends a run - Ctrl-C, a lost board, a crash - --resume goes
    on, and the weights become what they would have been.
    """
    from cutlayer_host.store import Store
    from cutlayer_host.transports import at_baud

    url = at_baud(url, baud) if baud else url
    key = key_finder(insecure=insecure)
    if resume is not None:
        store = Store.existing(store_folder)
        summary = store.run(resume or None)
        bundle = bundle or Path(summary.bundle)
        asked = TrainOptions.of(summary, store_folder)
        open_run: RunOpener = functools.partial(_resume, store, summary.number)
    elif bundle is None:
        raise click.UsageError("which bundle? give --bundle DIR, what `cutlayer convert` wrote, or --resume")
    else:
        asked = TrainOptions(**options)
        open_run = new_run(store_folder, bundle, asked)
    result = asyncio.run(train_device(url, bundle, asked, open_run, key=key))
    report_result(result, as_json)


async def train_device(
    url: str,
    bundle: Path,
    options: TrainOptions,
    open_run: RunOpener,
    *,
    key: KeyFinder | None,
) -> dict[str, Any]:
    """Trains the board at `url` with a progress bar, and returns the lesson's result.

    The run is opened once the board has been greeted, so that a board that is not there leaves no store.
    """
    from cutlayer_boards.console import progress
    from cutlayer_host.opening import connect, reopen_device
    from cutlayer_host.worker import TailWorker

    lesson_of = lessons(bundle, options)

    async def reconnect() -> Device:
        return await reopen_device(lesson.device.url, options.patience, key=key)

    async with connect(url, key=key) as device, TailWorker() as worker:
        lesson = lesson_of(device, worker, reconnect)
        lesson.check_board()
        run = open_run(device)
        try:
            with run, progress() as bar, stopping(lesson):
                task = bar.add_task("starting TensorFlow", total=options.samples)
                async for done in lesson.steps(run):
                    bar.update(task, completed=done.visited, description=describe(done))
        finally:
            await lesson.device.close()
    if not lesson.result:
        raise click.ClickException(
            f"stopped after step {lesson.last_step}\n"
            f"next: go on with `cutlayer train --device {url} --store {run.folder} --resume {run.number}`"
        )
    return lesson.result


@contextlib.contextmanager
def stopping(training: Lesson | Server) -> Iterator[None]:
    """The first Ctrl-C asks it to stop, the second ends the process."""
    import signal

    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        click.echo("stopping after this step; Ctrl-C again to stop at once", err=True)
        training.stop()

    try:
        loop.add_signal_handler(signal.SIGINT, stop)
    except (NotImplementedError, RuntimeError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def lessons(bundle: Path, options: TrainOptions) -> Callable[[Device, TailWorker, Reconnect], Lesson]:
    """What gives a board its lesson; the manifest and the labels are read now."""
    from cutlayer_converter.bundle import load_manifest
    from cutlayer_host.lesson import Curriculum, Lesson

    manifest = load_manifest(bundle)
    labels = None if options.labels is None else list(options.labels.read_bytes())
    curriculum = Curriculum(options.samples, options.hold_out, labels, options.seed)
    settings, tail_settings = options.train_settings(), options.tail_settings()

    def lesson(device: Device, worker: TailWorker, reconnect: Reconnect) -> Lesson:
        return Lesson(device, bundle, manifest, worker, curriculum, settings, tail_settings, reconnect)

    return lesson


def new_run(store_folder: Path, bundle: Path, options: TrainOptions) -> RunOpener:
    """Begins a run of a board in the store of that folder."""

    def begin(device: Device) -> Run:
        from cutlayer_host.store import Store

        return Store(store_folder).begin(device.welcome, device.url, bundle, options.asked())

    return begin


def _resume(store: Store, number: int, _device: Device) -> Run:
    return store.resume(number)


def describe(done: StepDone) -> str:
    """A step in a few words."""
    return f"step {done.step}  loss {done.loss:.3f}"


def report_result(result: dict[str, Any], as_json: bool) -> None:
    """Prints a lesson's result."""
    from cutlayer_boards.console import console, print_json

    if as_json:
        print_json(result)
        return
    lines = [
        f"run {result['run']}",
        f"{result['samples']} samples in {result['steps']} steps, {result['seconds']:.1f} s",
        f"while learning: loss {result['loss']:.3f}, accuracy {result['accuracy']:.1%}",
    ]
    if held_out := result.get("held_out"):
        lines.append(
            f"held out, {held_out['samples']} recordings: "
            f"loss {held_out['loss']:.3f}, accuracy {held_out['accuracy']:.1%}"
        )
    if saves := result["saves"]:
        hours = result["seconds"] / 3600.0
        rate = f", {saves / hours:.0f} an hour" if hours >= WEAR_HOURS else ""
        lines.append(f"the board's storage was written {saves} times{rate}")
    lines.append(f"`cutlayer export {result['run']}` writes the models")
    console().print("\n".join(lines), highlight=False)
