"""`cutlayer export`: writes what a run has learned as models."""

from __future__ import annotations

import asyncio
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import (
    baud_option,
    insecure_option,
    json_option,
    key_finder,
    store_option,
)
from cutlayer_host.commands.run import command_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cutlayer_converter.bundle import Manifest
    from cutlayer_host.board_messages import Welcome
    from cutlayer_host.device import Device
    from cutlayer_host.guard import KeyFinder
    from cutlayer_host.meeting import Meeting
    from cutlayer_host.store import RunSummary


@click.command()
@click.argument("number", metavar="[RUN]", type=click.IntRange(1), required=False)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The models: made, or replaced if it holds an export.",
)
@click.option("--device", "url", metavar="URL", help="The board that learned; without it the tail alone.")
@baud_option
@insecure_option
@click.option(
    "--bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What the run began with, if it has moved.",
)
@store_option
@json_option
@click.pass_context
def export(
    context: click.Context,
    /,
    number: int | None,
    out: Path,
    url: str | None,
    baud: int | None,
    insecure: bool,
    bundle: Path | None,
    store_folder: Path,
    as_json: bool,
) -> None:
    """Write what RUN, by default the last, has learned as models.

    tail.keras always; with --device, or when the head was frozen, also model.keras, the whole network in
    float, and head.tflite, the int8 head as it is on the board. A board that is not at a step that the store
    holds is put back to the newest one in its storage.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_host.store import Store
    from cutlayer_host.transports import at_baud

    store = Store.existing(store_folder)
    summary = store.run(number or max((run.number for run in store.runs()), default=None))
    kept = store.checkpoints(summary.number)
    if not kept:
        raise click.ClickException(
            f"run {summary.number} has no checkpoint yet\nnext: train on; `cutlayer runs` shows what there is"
        )
    folder = bundle or Path(summary.bundle)
    frozen = _head_is_converted(_manifest(folder, summary), summary)
    head = "converted" if frozen else None
    step = kept[-1]
    layer: dict[str, npt.NDArray[Any]] = {}
    if url is not None and head is None:
        url = at_baud(url, baud) if baud else url
        key = key_finder(insecure=insecure)
        step, layer = asyncio.run(_read_board(url, key, folder, summary, kept))
        head = "learned"
    checkpoint = store.load(summary.number, step)
    _check_layer(layer, checkpoint.weights_crc, summary, step)
    arrays = {f"tail/{i}": part for i, part in enumerate(checkpoint.tail_weights)}
    files = _assemble(context, {**arrays, **layer}, folder, out, tail_only=head is None)
    if as_json:
        print_json(
            {
                "run": summary.number,
                "step": step,
                "checkpoint": kept[-1],
                "head": head,
                "out": str(out),
                "files": files,
            }
        )
        return
    console().print("\n".join(_described(summary, step, kept[-1], head, out, files)), highlight=False)


def _described(
    summary: RunSummary, step: int, newest: int, head: str | None, out: Path, files: list[str]
) -> list[str]:
    lines = [f"run {summary.number}, step {step}: {', '.join(files)} in {out}"]
    if step != newest:
        lines.append(f"the store holds step {newest} too, but the board does not")
    if head is None:
        lines.append("the tail alone: --device URL reads the board's layer, for the whole model and the head")
    return lines


def _head_is_converted(manifest: Manifest, summary: RunSummary) -> bool:
    """Whether the run's head is the bundle's: it was frozen, and no older training was kept."""
    asked = summary.asked
    return manifest.trainable is None or bool(asked.get("freeze_head") and not asked.get("keep_weights"))


def _manifest(folder: Path, summary: RunSummary) -> Manifest:
    from cutlayer_converter.bundle import load_manifest
    from cutlayer_host.errors import BundleMismatch

    manifest = load_manifest(folder)
    found = manifest.model_id
    if found != summary.model_id:
        raise BundleMismatch(
            f"{folder} is model {found[:12]}, run {summary.number} trained model {summary.model_id[:12]}",
            f"name the bundle of model {summary.model_id[:12]} with --bundle",
        )
    return manifest


async def _read_board(
    url: str, key: KeyFinder | None, bundle: Path, summary: RunSummary, kept: list[int]
) -> tuple[int, dict[str, npt.NDArray[Any]]]:
    """The newest step that board and store both have, and the board's layer after it."""
    from cutlayer_host.meeting import Way
    from cutlayer_host.opening import connect

    async with connect(url, key=key) as device:
        device.require_model(summary.model_id, bundle)
        meeting = _meet(device.welcome, device.url, summary, kept)
        if meeting.way is Way.STAY:
            return meeting.step, await _read_layer(device)
        await device.restore(summary.lineage, meeting.step)
    # What the restored layer's output scale is, WELCOME tells.
    async with connect(url, key=key) as device:
        again = _meet(device.welcome, device.url, summary, kept)
        return again.step, await _read_layer(device)


def _meet(welcome: Welcome, url: str, summary: RunSummary, kept: list[int]) -> Meeting:
    from cutlayer_host.errors import DeviceFault
    from cutlayer_host.meeting import Meeting, Way, meet

    if summary.asked.get("freeze_head") and welcome.run == summary.lineage:
        return Meeting(kept[-1], Way.STAY)  # the board's layer has made no step, the tail has
    # Nothing has been learned at step 0, and every board can go there.
    meeting = meet(welcome, summary.lineage, live=None, kept=[step for step in kept if step > 0])
    if meeting is None:
        other = "this run" if welcome.run == summary.lineage else "another run"
        held = ", ".join(str(state.step) for state in welcome.held if state.run == summary.lineage)
        raise DeviceFault(
            f"{url} is at step {welcome.last_step} of {other} and holds "
            f"{f'step {held}' if held else 'no step'} of run {summary.number}; the store holds step "
            f"{', '.join(map(str, kept))}",
            "name the board that made the run; "
            + (
                "or export without --device: the tail alone"
                if summary.state == "finished"
                else f"or train it again with --resume {summary.number}; or export without --device: the tail"
            ),
        )
    return meeting


async def _read_layer(device: Device) -> dict[str, npt.NDArray[Any]]:
    """The parts of the layer, as `assemble` takes them."""
    import numpy as np

    from cutlayer_host.codes import Section

    welcome = device.welcome
    sections = {
        "weights": (Section.WEIGHTS, "<i1"),
        "bias": (Section.BIAS, "<i4"),
        "weight_scales": (Section.WEIGHT_SCALES, "<f4"),
        "master": (Section.MASTER, "<f4"),
    }
    parts: dict[str, np.ndarray[Any, Any]] = {
        f"layer/{name}": np.frombuffer(await device.read(section), dtype)
        for name, (section, dtype) in sections.items()
    }
    output = np.asarray([welcome.output_scale, welcome.output_zero_point], np.float64)
    return {**parts, "layer/output": output}


def _check_layer(layer: dict[str, npt.NDArray[Any]], due: int | None, summary: RunSummary, step: int) -> None:
    from cutlayer_host.errors import DeviceFault

    if not layer or due is None:
        return
    found = zlib.crc32(layer["layer/master"].tobytes())
    if found != due:
        raise DeviceFault(
            f"the board's weights of step {step} have CRC-32 {found:08X}, "
            f"run {summary.number} noted {due:08X}",
            "name the board that made the run, or export without --device: the tail alone",
        )


def _assemble(
    context: click.Context, arrays: dict[str, npt.NDArray[Any]], bundle: Path, out: Path, *, tail_only: bool
) -> list[str]:
    """Through the command line and not by import: the host does not depend on the converter."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="cutlayer-export-") as folder:
        weights = Path(folder, "weights.npz")
        named: dict[str, Any] = dict(arrays)
        np.savez(weights, **named)
        files: list[str] = context.invoke(
            command_of(context, "assemble"),
            weights=str(weights),
            bundle=str(bundle),
            out=str(out),
            tail_only=tail_only,
        )
    return files
