"""What a command says: progress and tables to a person on stderr, one JSON object to a program on stdout."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.progress import Progress


@cache
def console() -> Console:
    """The console on stderr that everything for a person goes to."""
    from rich.console import Console

    if sys.stderr.isatty():
        # A descriptor of its own: TensorFlow is silenced on descriptor 2, for seconds, while bars are shown.
        own = os.dup(sys.stderr.fileno())
        return Console(file=os.fdopen(own, "w", encoding=sys.stderr.encoding, errors="backslashreplace"))
    return Console(stderr=True)


def progress() -> Progress:
    """A progress bar on a terminal's stderr, for anything over two seconds; gone when its context ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(),
        transient=True,
        disable=not console().is_terminal,
    )


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on stdout, on one line."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
