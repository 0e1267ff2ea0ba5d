"""An open run of a store: its checkpoints, and what happened step by step."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import sqlite3
import time
import zipfile
import zlib
from dataclasses import astuple, fields
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from cutlayer_host.checkpoint import Checkpoint, superseded
from cutlayer_host.durable import write_durably
from cutlayer_host.errors import StoreError
from cutlayer_host.report import StepDone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

_COLUMNS = ", ".join(field.name for field in fields(StepDone))
_STEP = f"INSERT OR REPLACE INTO steps (run, {_COLUMNS}) VALUES (?{', ?' * len(fields(StepDone))})"


# What NumPy and zipfile say of a file that is none of theirs.
_NO_ARRAYS = (
    *(ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


class Run:
    """An open run: a ledger (cutlayer_host.checkpoint), and what happened. One thread at a time uses it.

    Attributes:
        number: its number in the store; `run` its lineage, for the board.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, number: int, lineage: int) -> None:
        """Takes the connection.

        Raises:
            StoreError: another process has the run open.
        """
        self.folder = folder
        self.number = number
        self.run = lineage
        self._database = database
        self._done: list[StepDone] = []
        try:
            self._lock = _hold(folder, number)
        except BaseException:
            database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the run; steps recorded since the last checkpoint go, as they will be made again."""
        self._database.close()
        self._lock.close()

    @property
    def result(self) -> dict[str, Any] | None:
        """What came of the run; None until it has finished."""
        query = "SELECT result FROM runs WHERE number = ?"
        with explained(self.folder):
            (result,) = self._database.execute(query, (self.number,)).fetchone()
            return None if result is None else json_object(result)

    def record(self, done: StepDone) -> None:
        """Notes a step; it becomes durable with the next checkpoint."""
        self._done.append(done)

    def history(self) -> list[StepDone]:
        """All steps that are durable, in order."""
        with explained(self.folder):
            return history(self._database, self.number)

    def measure(self, step: int, metrics: Mapping[str, float]) -> None:
        """Notes measurements after a step."""
        rows = [(self.number, step, name, float(value)) for name, value in metrics.items()]
        with explained(self.folder), self._database:
            self._database.executemany("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?)", rows)

    def measured(self) -> dict[str, float]:
        """The latest value of each measurement, by name."""
        query = "SELECT name, value FROM metrics WHERE run = ? ORDER BY step"
        with explained(self.folder):
            return dict(self._database.execute(query, (self.number,)).fetchall())

    def steps(self) -> list[int]:
        """See Ledger.steps."""
        with explained(self.folder):
            rows = self._database.execute(
                "SELECT step FROM checkpoints WHERE run = ? ORDER BY step", (self.number,)
            )
            return [int(step) for (step,) in rows]

    def keep(self, checkpoint: Checkpoint) -> None:
        """See Ledger.keep; the steps recorded up to it become durable too."""
        packed = io.BytesIO()
        arrays: dict[str, Any] = dict(checkpoint.arrays)
        np.savez(packed, **arrays)
        data = packed.getvalue()
        row = (self.number, checkpoint.step, hashlib.sha256(data).hexdigest(), checkpoint.weights_crc)
        with explained(self.folder):
            write_durably(checkpoint_path(self.folder, self.number, checkpoint.step), data)
            with self._database:
                self._record()
                self._database.execute(
                    "INSERT OR REPLACE INTO checkpoints (run, step, sha256, weights_crc) VALUES (?, ?, ?, ?)",
                    row,
                )
        self._done.clear()

    def load(self, step: int) -> Checkpoint:
        """See Ledger.load."""
        with explained(self.folder):
            return load_checkpoint(self._database, self.folder, self.number, step)

    def saved(self, step: int) -> None:
        """See Ledger.saved."""
        with explained(self.folder):
            (before,) = self._database.execute(
                "SELECT max(step) FROM checkpoints WHERE run = ? AND saved AND step < ?", (self.number, step)
            ).fetchone()
            with self._database:
                self._database.execute(
                    "UPDATE checkpoints SET saved = 1 WHERE run = ? AND step = ?", (self.number, step)
                )
            self._drop(superseded(self.steps(), before))

    def go_back(self, step: int) -> None:
        """See Ledger.go_back."""
        self._done = [done for done in self._done if done.step <= step]
        with explained(self.folder):
            with self._database:
                for table in ("steps", "metrics"):
                    self._database.execute(
                        f"DELETE FROM {table} WHERE run = ? AND step > ?", (self.number, step)
                    )
            self._drop([later for later in self.steps() if later > step])

    def finish(self, result: Mapping[str, Any]) -> None:
        """Ends the run with what came of it."""
        with explained(self.folder), self._database:
            self._record()
            self._database.execute(
                "UPDATE runs SET result = ?, ended = ? WHERE number = ?",
                (json.dumps(dict(result)), time.time(), self.number),
            )
        self._done.clear()

    def _record(self) -> None:
        """Within a transaction of the caller's."""
        self._database.executemany(_STEP, [(self.number, *astuple(done)) for done in self._done])

    def _drop(self, steps: list[int]) -> None:
        """The rows first: a file without a row is litter, a row without a file a fault."""
        with self._database:
            self._database.executemany(
                "DELETE FROM checkpoints WHERE run = ? AND step = ?", [(self.number, step) for step in steps]
            )
        for step in steps:
            checkpoint_path(self.folder, self.number, step).unlink(missing_ok=True)


def history(database: sqlite3.Connection, number: int) -> list[StepDone]:
    """A run's steps that are durable, in order."""
    query = f"SELECT {_COLUMNS} FROM steps WHERE run = ? ORDER BY step"
    return [StepDone(*row) for row in database.execute(query, (number,))]


def checkpoint_path(folder: Path, number: int, step: int) -> Path:
    """Where a checkpoint lies."""
    return folder / "checkpoints" / f"{number}-{step}.npz"


def load_checkpoint(database: sqlite3.Connection, folder: Path, number: int, step: int) -> Checkpoint:
    """Reads a checkpoint. Raises StoreError when it is not there, or damaged."""
    row = database.execute(
        "SELECT sha256, weights_crc FROM checkpoints WHERE run = ? AND step = ?", (number, step)
    ).fetchone()
    if row is None:
        raise StoreError(f"{folder}: run {number} has no checkpoint of step {step}")
    path = checkpoint_path(folder, number, step)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise StoreError(f"{path}: damaged, its SHA-256 is not the one noted", "begin a new run")
    return Checkpoint(step, _arrays(path, data), row["weights_crc"])


def _arrays(path: Path, data: bytes) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
    except _NO_ARRAYS as error:
        raise StoreError(f"{path}: holds no arrays: {error}", "begin a new run") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise StoreError(f"{path}: {name} holds {array.dtype}, not numbers", "begin a new run")
    return arrays


def _lock_path(folder: Path, number: int) -> Path:
    return folder / "checkpoints" / f"{number}.lock"


def _hold(folder: Path, number: int) -> IO[bytes]:
    with explained(folder):
        file = _lock_path(folder, number).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StoreError(
            f"{folder}: another process goes on with run {number} now", "stop that one first"
        ) from None
    return file


def is_held(folder: Path, number: int) -> bool:
    """Whether some process has the run open."""
    try:
        _hold(folder, number).close()
    except StoreError:
        return True
    return False


def json_object(text: str) -> dict[str, Any]:
    """From a column of JSON. Raises ValueError when it holds no object."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"JSON that is no object: {text:.20}")
    return value


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Says what is wrong with the disk or the database in a StoreError; a damaged text is a ValueError."""
    try:
        yield
    except (OSError, sqlite3.Error, ValueError) as error:
        raise StoreError(
            f"{folder}: cannot keep a run there: {error}",
            "make room on the disk, or name another folder with --store",
        ) from error
