"""A run's folder: what was asked, what happened step by step, and the tail that came out.

run.json        what was asked and, at the end, the result
metrics.jsonl   one JSON object a step, in order; written as they come
tail.keras      the tail's weights at the end
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from cutlayer_host.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cutlayer_host.tail import Tail


class Run:
    """An open run. Files other than metrics.jsonl appear whole or not at all.

    Attributes:
        result: what `finish` wrote; empty before.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], *, resume: bool = False) -> None:
        """Makes the folder, or takes an empty one; `resume` goes on with a run there that was finished.

        Then what was asked at its beginning stays, its `result` is there, and metrics.jsonl grows.

        Raises:
            StoreError: the folder holds something already, or cannot be written; with `resume`, it holds no
                finished run.
        """
        self.folder = folder
        self.result: dict[str, Any] = {}
        self._asked = dict(asked)
        if resume:
            self._asked, self.result = _finished(folder)
        else:
            _take(folder)
        try:
            self._metrics = (folder / "metrics.jsonl").open("a" if resume else "x", encoding="utf-8")
        except OSError as error:
            raise _not_there(folder, error) from error
        if not resume:
            write_json(folder / "run.json", {"asked": self._asked})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes metrics.jsonl. Closing twice is no error."""
        self._metrics.close()

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Adds a line to metrics.jsonl; what a crash leaves behind is whole lines."""
        self._metrics.write(json.dumps(metrics) + "\n")
        self._metrics.flush()

    def finish(self, tail: Tail, result: Mapping[str, Any]) -> None:
        """Writes tail.keras and then the result into run.json: a run with a result is complete."""
        tail.save(self.folder / "tail.keras")
        self.result = dict(result)
        write_json(self.folder / "run.json", {"asked": self._asked, "result": self.result})


def _take(folder: Path) -> None:
    """Makes the folder, or sees that it is empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = next(folder.iterdir(), None)
    except OSError as error:
        raise _not_there(folder, error) from error
    if taken is not None:
        raise StoreError(f"{folder}: not empty, it holds {taken.name}", "name a new folder with --out")


def _finished(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was asked of a finished run, and its result."""
    try:
        kept = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return dict(kept["asked"]), dict(kept["result"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder}: no finished run there: {error!r}", "begin a new one, without --resume"
        ) from error


def _not_there(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder}: cannot keep a run there: {error}", "name another with --out")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
