"""`cutlayer train`: trains one board and its tail."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import (
    TrainOptions,
    baud_option,
    bundle_option,
    json_option,
    train_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_host.device import Device
    from cutlayer_host.lesson import Curriculum
    from cutlayer_host.report import StepDone
    from cutlayer_host.store import Run

BOOT_SECONDS = 10.0
"""How long a board whose link was lost may take to come back."""


@click.command()
@click.option(
    "--device",
    "url",
    required=True,
    metavar="URL",
    help="serial:///dev/ttyACM0, ble://NAME, tcp://HOST:PORT, unix:///PATH.",
)
@baud_option
@bundle_option
@train_options
@json_option
def train(url: str, baud: int | None, bundle: Path, as_json: bool, **options: Any) -> None:
    """Train a board and the tail of its bundle.

    Labels come from the board, or from --labels. A board with another model than the bundle's is refused.
    """
    from cutlayer_host.transports import at_baud

    url = at_baud(url, baud) if baud else url
    result = asyncio.run(train_device(url, bundle, TrainOptions(**options)))
    report_result(result, as_json)


async def train_device(url: str, bundle: Path, options: TrainOptions) -> dict[str, Any]:
    """Trains the board at `url` with a progress bar, and returns the lesson's result."""
    from cutlayer_boards.console import progress
    from cutlayer_converter.bundle import load_manifest
    from cutlayer_host.device import Device, connect
    from cutlayer_host.errors import BundleMismatch
    from cutlayer_host.lesson import Lesson
    from cutlayer_host.transports import open_transport
    from cutlayer_host.worker import TailWorker

    manifest = load_manifest(bundle)
    curriculum = read_curriculum(options)

    async def reconnect() -> Device:
        device = await Device.open(await _open_again(lesson.device.url, open_transport))
        try:
            device.require_model(manifest.model_id, bundle)
        except BundleMismatch:
            await device.close()
            raise
        return device

    async with connect(url) as device, TailWorker() as worker:
        device.require_model(manifest.model_id, bundle)
        lesson = Lesson(
            device,
            bundle,
            manifest,
            worker,
            curriculum,
            options.train_settings(),
            options.tail_settings(),
            reconnect,
        )
        run = open_run(options, {"device": url, "bundle": str(bundle)})
        try:
            with progress() as bar:
                task = bar.add_task("starting TensorFlow", total=options.samples)
                async for done in lesson.steps(run):
                    bar.update(task, advance=done.samples, description=describe(done))
        finally:
            await lesson.device.close()
            if run is not None:
                run.close()
    return lesson.result


def read_curriculum(options: TrainOptions) -> Curriculum:
    """The samples to visit, with the labels read."""
    from cutlayer_host.lesson import Curriculum

    labels = None if options.labels is None else list(options.labels.read_bytes())
    return Curriculum(options.samples, options.hold_out, labels, options.seed)


def open_run(options: TrainOptions, asked: dict[str, Any], folder: Path | None = None) -> Run | None:
    """The run's folder where one is asked for; `folder` instead of --out."""
    import dataclasses

    from cutlayer_host.store import Run

    folder = folder or options.out
    if folder is None:
        return None
    plain = {
        name: value if isinstance(value, (int, float, str, type(None))) else str(value)
        for name, value in dataclasses.asdict(options).items()
    }
    return Run(folder, {**asked, **plain})


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
        f"{result['samples']} samples in {result['steps']} steps, {result['seconds']:.1f} s",
        f"while learning: loss {result['loss']:.3f}, accuracy {result['accuracy']:.1%}",
    ]
    if held_out := result.get("held_out"):
        lines.append(
            f"held out, {held_out['samples']} recordings: "
            f"loss {held_out['loss']:.3f}, accuracy {held_out['accuracy']:.1%}"
        )
    console().print("\n".join(lines), highlight=False)


async def _open_again(url: str, open_transport: Any) -> Any:
    """Opens a pipe that may take a while to come back, as a USB port does when its board has reset."""
    from cutlayer_host.errors import TransportError

    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        try:
            return await open_transport(url)
        except TransportError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)
