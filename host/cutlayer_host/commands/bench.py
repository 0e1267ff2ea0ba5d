"""`cutlayer bench`: the figures. Each is a command with --json, an entry point of "cutlayer.bench"."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_boards.errors import CutlayerError
from cutlayer_host.cli import EntryPointGroup
from cutlayer_host.commands.options import json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = "all"
OK = "ok"
FAILED = "failed"
TIDY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A bench that has run; `state` is "ok", "failed", or "skipped: " and why."""

    state: str
    seconds: float
    file: str | None


@click.group(cls=EntryPointGroup, entry_point_group="cutlayer.bench")
def bench() -> None:
    """Measure the project's figures."""


@bench.command(name=ALL)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/bench"),
    show_default=True,
    help="Gets NAME.json of each bench, and summary.json.",
)
@click.option("--only", metavar="A,B,C", help="Run these alone, in this order.")
@json_option
@click.pass_context
def run_all(context: click.Context, out: Path, only: str | None, as_json: bool) -> None:
    """Run every bench and sum up the figures.

    Each runs in a process of its own. One that fails does not stop the others; it is named at the end, and
    the exit code is 1.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_host import figures

    names = _names(context, only)
    out.mkdir(parents=True, exist_ok=True)
    ran: dict[str, Ran] = {}
    for number, name in enumerate(names, 1):
        console().print(f"[bold]{name}[/bold] ({number} of {len(names)})", highlight=False)
        ran[name] = _run(name, out)
        console().print(f"  {ran[name].file or ran[name].state}  {ran[name].seconds:.0f} s", highlight=False)
    rows = figures.measured(out, {name: one.state for name, one in ran.items()})
    summary = {
        "figures": figures.as_json(rows),
        "benches": {name: asdict(one) for name, one in ran.items()},
    }
    _write(out / "summary.json", json.dumps(summary, indent=2).encode() + b"\n")
    console().print(figures.make_table(rows))
    if as_json:
        print_json(summary)
    if failed := [name for name, one in ran.items() if one.state == FAILED]:
        raise CutlayerError(
            f"{len(failed)} of {len(names)} benches failed: {', '.join(failed)}",
            f"run it alone: cutlayer bench {failed[0]}; its messages are above",
        )


def _names(context: click.Context, only: str | None) -> list[str]:
    every = [name for name in bench.list_commands(context) if name != ALL]
    if only is None:
        return every
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in every]
    if unknown or not names:
        raise CutlayerError(
            f"--only {only}: no bench {unknown[0]}" if unknown else "--only names no bench",
            f"there are {', '.join(every)}",
        )
    return names


def _run(name: str, out: Path) -> Ran:
    """Runs a bench; its progress and its errors go to the terminal, its JSON to `out`."""
    path = out / f"{name}.json"
    path.unlink(missing_ok=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "cutlayer_host.cli", "bench", name, "--json"]
    code, printed = _output(command)
    state = FAILED
    if code == 0:
        state = _state(printed)
        if state == FAILED:
            click.echo(f"error: bench {name} printed no JSON object", err=True)
    if state == OK:
        _write(path, printed)
    return Ran(state, round(time.monotonic() - began, 1), str(path) if state == OK else None)


def _output(command: Sequence[str]) -> tuple[int, bytes]:
    """Exit code and standard output."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            printed = child.stdout.read()
            return child.wait(), printed
        except BaseException:
            # The terminal has sent Ctrl-C to the child too: it ends its boards, then itself.
            try:
                child.wait(TIDY_SECONDS)
            except subprocess.TimeoutExpired:
                child.terminate()
            raise


def _state(printed: bytes) -> str:
    """What a bench that ended well printed; "skipped" says why it could not measure here."""
    try:
        value: Any = json.loads(printed)
    except ValueError:
        return FAILED
    if not isinstance(value, dict):
        return FAILED
    return f"skipped: {value['skipped']}" if "skipped" in value else OK


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)
