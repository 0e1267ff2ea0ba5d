from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cutlayer_host.errors import StoreError
from cutlayer_host.store import Run, write_json

if TYPE_CHECKING:
    from pathlib import Path


class Saves:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def save(self, path: Path) -> None:
        if self.error:
            raise self.error
        path.write_text("weights")


def test_a_run_from_beginning_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    with Run(folder, {"samples": 2}) as run:
        run.record({"step": 1})
        run.record({"step": 2})
        # What has been said so far can be read while the run goes on.
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [{"step": 1}, {"step": 2}]
        assert json.loads((folder / "run.json").read_text()) == {"asked": {"samples": 2}}
        run.finish(Saves(), {"loss": 0.5})
    assert json.loads((folder / "run.json").read_text()) == {"asked": {"samples": 2}, "result": {"loss": 0.5}}
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "run.json", "tail.keras"]


def test_a_run_whose_tail_cannot_be_saved_has_no_result(tmp_path: Path) -> None:
    with Run(tmp_path / "run", {}) as run, pytest.raises(OSError, match="full"):
        run.finish(Saves(OSError("disk full")), {"loss": 0.5})
    assert "result" not in json.loads((tmp_path / "run" / "run.json").read_text())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"not empty, it holds thesis.txt") as caught:
        Run(tmp_path, {})
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(StoreError, match="cannot keep a run there"):
        Run(tmp_path / "thesis.txt", {})


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
