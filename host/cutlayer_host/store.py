"""The host's storage: every run, what happened step by step, and the checkpoints to go on from.

FOLDER/cutlayer.sqlite3              devices, runs, steps, metrics, and which checkpoints there are
FOLDER/checkpoints/RUN-STEP.npz      the tail's weights and its optimizer's state

SQLite in WAL mode with synchronous=FULL: what a transaction says survives a power cut. A checkpoint's file is
whole and on the disk before its row is; a row's SHA-256 tells a damaged file.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutlayer_host.errors import StoreError
from cutlayer_host.run import Run, explained, history, is_held, json_object, load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cutlayer_host.board_messages import Welcome
    from cutlayer_host.checkpoint import Checkpoint
    from cutlayer_host.report import StepDone

BUSY_SECONDS = 30.0
SCHEMA_VERSION = 1

_SCHEMA = importlib.resources.files("cutlayer_host") / "store.sql"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run, as `cutlayer runs` shows it.

    Attributes:
        number: from 1 up, in the order in which runs began.
        lineage: by which boards know it (CONFIGURE.run).
        state: "finished", "running" (somebody holds it now), or "stopped": it can be resumed.
        steps: made and durable; `loss` and `accuracy` over the last tenth of them.
        checkpoint: the last step to go on from; None before the first.
    """

    number: int
    lineage: int
    state: str
    device: str
    board: str
    bundle: str
    model_id: str
    begun: float
    ended: float | None
    steps: int
    checkpoint: int | None
    loss: float | None
    accuracy: float | None
    asked: dict[str, Any]
    result: dict[str, Any] | None


class Store:
    """A store's folder. Each open run has a connection of its own, so that many boards train at once."""

    def __init__(self, folder: Path) -> None:
        """Makes the store, or opens it and checks its integrity.

        Raises:
            StoreError: the folder cannot be written, or the database is damaged or of another version.
        """
        self.folder = folder
        with explained(folder):
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            with contextlib.closing(self._connect()) as database:
                _check(database, folder)

    @classmethod
    def existing(cls, folder: Path) -> Store:
        """Opens a store that is there.

        Raises:
            StoreError: there is none, or as for a new one.
        """
        if not (folder / "cutlayer.sqlite3").is_file():
            raise StoreError(f"{folder}: no store there", "`cutlayer train` makes one; name it with --store")
        return cls(folder)

    def begin(self, welcome: Welcome, url: str, bundle: Path, asked: Mapping[str, Any]) -> Run:
        """Begins a run on a device.

        Raises:
            StoreError: it cannot be written down.
        """
        now = time.time()
        device, model_id = device_name(welcome, url), welcome.model_id.hex()
        with explained(self.folder):
            database = self._connect()
            with database:
                database.execute(
                    "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?)",
                    (device, url, welcome.board, model_id, welcome.saves, now),
                )
                lineage = secrets.randbelow(2**32 - 1) + 1
                number = database.execute(
                    "INSERT INTO runs (lineage, device, bundle, model_id, asked, begun) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (lineage, device, str(bundle.resolve()), model_id, json.dumps(dict(asked)), now),
                ).lastrowid
        assert number is not None
        return Run(self.folder, database, number, lineage)

    def resume(self, number: int | None = None, device: str | None = None) -> Run:
        """Opens a run to go on with; by default the last one, perhaps of a device, that has not finished.

        Raises:
            StoreError: there is no such run, it has finished, or another process goes on with it now.
        """
        summary = self.run(number, device)
        if summary.state == "finished":
            raise StoreError(
                f"{self.folder}: run {summary.number} has finished", "begin a new one, without --resume"
            )
        with explained(self.folder):
            return Run(self.folder, self._connect(), summary.number, summary.lineage)

    def last_of(self, device: str) -> Run | None:
        """Opens the last run of a device, which may have finished; None when it has none.

        Raises:
            StoreError: another process goes on with it now.
        """
        runs = [run for run in self.runs() if run.device == device]
        if not runs:
            return None
        with explained(self.folder):
            return Run(self.folder, self._connect(), runs[-1].number, runs[-1].lineage)

    def run(self, number: int | None = None, device: str | None = None) -> RunSummary:
        """One run; by default the last one, perhaps of a device, that has not finished, or else the last.

        Raises:
            StoreError: there is no such run.
        """
        runs = [run for run in self.runs() if device in (None, run.device)]
        if number is None:
            unfinished = [run for run in runs if run.state != "finished"]
            chosen = (unfinished or runs)[-1:]
        else:
            chosen = [run for run in runs if run.number == number]
        if not chosen:
            wanted = f"run {number}" if number is not None else "a run" + (f" of {device}" if device else "")
            raise StoreError(f"{self.folder}: there is not {wanted}", "`cutlayer runs` lists those there are")
        return chosen[0]

    def runs(self) -> list[RunSummary]:
        """All runs in the order in which they began."""
        with explained(self.folder), contextlib.closing(self._connect()) as database:
            return [self._summary(database, row) for row in database.execute("SELECT * FROM runs").fetchall()]

    def checkpoints(self, number: int) -> list[int]:
        """The steps of a run's checkpoints, in order."""
        query = "SELECT step FROM checkpoints WHERE run = ? ORDER BY step"
        with explained(self.folder), contextlib.closing(self._connect()) as database:
            return [int(step) for (step,) in database.execute(query, (number,))]

    def load(self, number: int, step: int) -> Checkpoint:
        """A checkpoint of a run, for whoever does not go on with it.

        Raises:
            StoreError: it is not there, or damaged.
        """
        with explained(self.folder), contextlib.closing(self._connect()) as database:
            return load_checkpoint(database, self.folder, number, step)

    def history(self, number: int) -> list[StepDone]:
        """A run's steps that are durable, in order."""
        with explained(self.folder), contextlib.closing(self._connect()) as database:
            return history(database, number)

    def _connect(self) -> sqlite3.Connection:
        # Used by one thread at a time, though not always the same.
        database = sqlite3.connect(
            self.folder / "cutlayer.sqlite3", timeout=BUSY_SECONDS, check_same_thread=False
        )
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        return database

    def _summary(self, database: sqlite3.Connection, row: sqlite3.Row) -> RunSummary:
        number = row["number"]
        device = database.execute("SELECT * FROM devices WHERE id = ?", (row["device"],)).fetchone()
        steps, last = database.execute(
            "SELECT count(*), max(step) FROM steps WHERE run = ?", (number,)
        ).fetchone()
        loss, accuracy = database.execute(
            "SELECT sum(loss * samples) / sum(samples), 1.0 * sum(correct) / sum(samples) FROM steps "
            "WHERE run = ? AND step > ?",
            (number, (last or 0) - max(steps // 10, 1)),
        ).fetchone()
        (checkpoint,) = database.execute(
            "SELECT max(step) FROM checkpoints WHERE run = ?", (number,)
        ).fetchone()
        finished = row["ended"] is not None
        return RunSummary(
            number=number,
            lineage=row["lineage"],
            state="finished" if finished else "running" if is_held(self.folder, number) else "stopped",
            device=row["device"],
            board=device["board"],
            bundle=row["bundle"],
            model_id=row["model_id"],
            begun=row["begun"],
            ended=row["ended"],
            steps=steps,
            checkpoint=checkpoint,
            loss=loss,
            accuracy=accuracy,
            asked=json_object(row["asked"]),
            result=None if row["result"] is None else json_object(row["result"]),
        )


def device_name(welcome: Welcome, url: str) -> str:
    """How the store names a device: its id in hex, or the way to it when it has none."""
    return welcome.device_id.hex() if any(welcome.device_id) else url


def _check(database: sqlite3.Connection, folder: Path) -> None:
    (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(folder, verdict)
    if orphan := database.execute("PRAGMA foreign_key_check").fetchone():
        raise _damaged(folder, f"a row of {orphan[0]} belongs to nothing")
    if _version(database) == 0:
        stamp = f"PRAGMA user_version = {SCHEMA_VERSION};"
        try:
            database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA.read_text()} {stamp} COMMIT;")
        except sqlite3.OperationalError:
            # Of two processes that come first, the second finds it done.
            database.rollback()
            if _version(database) == 0:
                raise
    version = _version(database)
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{folder}: the database has version {version}, this cutlayer writes version {SCHEMA_VERSION}",
            "name another folder with --store",
        )
    with contextlib.closing(sqlite3.connect(":memory:")) as new:
        new.executescript(_SCHEMA.read_text())
        if _tables(database) != _tables(new):
            raise _damaged(folder, "its tables are not those of a store")


def _tables(database: sqlite3.Connection) -> list[tuple[str, str]]:
    return [tuple(row) for row in database.execute("SELECT name, sql FROM sqlite_master ORDER BY name, sql")]


def _damaged(folder: Path, how: object) -> StoreError:
    return StoreError(
        f"{folder}: the database is damaged: {how}", "move the folder away, or restore it from a backup"
    )


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)
