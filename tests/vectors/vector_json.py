"""Vectors as JSON: what a file holds, and its text."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]


def as_text(part: Json) -> str:
    """One case a line, so that a change shows what it changes."""
    lists = []
    for name, value in part.items():
        if isinstance(value, list):
            cases = ",\n".join("  " + json.dumps(case) for case in value)
            lists.append(f" {json.dumps(name)}: [\n{cases}\n ]")
        else:
            lists.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lists) + "\n}\n"
