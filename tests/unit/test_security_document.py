"""docs/security.md: its invariants are numbered in order, and the tests that hold them exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"F": "firmware", "U": "unit", "E": "emulation", "M": "model"}


def test_every_invariant_names_tests_that_are_there() -> None:
    rows = re.findall(r"^\| I(\d+) \| .+ \| (.+) \|$", (ROOT / "docs" / "security.md").read_text(), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    for number, tests in rows:
        named = re.findall(r"`([FUEM])/(test_\w+\.py)(?:::(test_\w+))?`", tests)
        assert len(named) == tests.count("`") // 2 > 0, f"I{number}"
        for folder, file, test in named:
            text = (ROOT / "tests" / FOLDERS[folder] / file).read_text()
            assert not test or f"def {test}(" in text, f"I{number}: {file}::{test}"
