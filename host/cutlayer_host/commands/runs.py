"""`cutlayer runs`: lists what a store holds."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import click

from cutlayer_host.commands.options import json_option, store_option

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_host.store import RunSummary


@click.command()
@store_option
@json_option
def runs(store_folder: Path, as_json: bool) -> None:
    """List the runs of a store."""
    from cutlayer_boards.console import console, print_json
    from cutlayer_host.store import Store

    every = Store.existing(store_folder).runs()
    if as_json:
        print_json({"store": str(store_folder), "runs": [dataclasses.asdict(run) for run in every]})
        return
    from rich.table import Table

    table = Table(
        "run", "state", "begun", "board", "steps", "checkpoint", "loss", "accuracy", "bundle", box=None
    )
    for run in every:
        table.add_row(*_cells(run))
    console().print(table)


def _cells(run: RunSummary) -> tuple[str, ...]:
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.begun))
    loss = "-" if run.loss is None else f"{run.loss:.3f}"
    accuracy = "-" if run.accuracy is None else f"{run.accuracy:.1%}"
    checkpoint = "-" if run.checkpoint is None else str(run.checkpoint)
    return (
        str(run.number),
        run.state,
        begun,
        run.board,
        str(run.steps),
        checkpoint,
        loss,
        accuracy,
        run.bundle,
    )
