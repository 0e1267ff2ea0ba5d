"""`cutlayer bench`: the figures. Each is a command with --json, an entry point of "cutlayer.bench"."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from cutlayer_boards.errors import CutlayerError
from cutlayer_host.cli import EntryPointGroup


@click.group(cls=EntryPointGroup, entry_point_group="cutlayer.bench")
def bench() -> None:
    """Measure the project's figures."""


@bench.command(name="all")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/bench"),
    show_default=True,
    help="Gets one JSON file a bench.",
)
@click.pass_context
def run_all(context: click.Context, out: Path) -> None:
    """Run every bench, each in a process of its own, and keep what it prints."""
    from cutlayer_boards.console import console

    out.mkdir(parents=True, exist_ok=True)
    for name in bench.list_commands(context):
        if name == "all":
            continue
        with console().status(f"bench {name}"):
            command = [sys.executable, "-m", "cutlayer_host.cli", "bench", name, "--json"]
            result = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if result.returncode:
            raise CutlayerError(
                f"bench {name} failed", f"run it alone: cutlayer bench {name}; its messages are above"
            )
        partial = out / f".{name}.json.partial"
        partial.write_bytes(result.stdout)
        partial.replace(out / f"{name}.json")
        console().print(f"{out / name}.json")
