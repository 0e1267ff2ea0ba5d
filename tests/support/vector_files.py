"""The vectors of tests/vectors, read."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "vectors"

# As where make.py is run: it imports the files beside it.
sys.path.append(str(FOLDER))


@cache
def vectors(name: str) -> dict[str, Any]:
    """What NAME.json holds."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def maker() -> Any:
    """tests/vectors/make.py as a module."""
    spec = importlib.util.spec_from_file_location("vectors_make", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def play(conversation: dict[str, Any], end: Any) -> None:
    """Runs one conversation of links.json with `end` and checks every answer."""
    from link_vectors import as_json

    from cutlayer_host.link import Connected, Lost, LostReason, Received
    from cutlayer_host.wire import FrameDecoder

    for number, step in enumerate(conversation["steps"]):
        where = f"{conversation['name']}, step {number}: {step}"
        now_ms = step["at_ms"]
        events: list[Any] = []
        if "connect" in step:
            end.connect(now_ms, step["connect"])
        elif "receive" in step:
            events = end.receive(bytes.fromhex(step["receive"]), now_ms)
        elif "send" in step:
            for payload in step["send"]:
                end.send(bytes.fromhex(payload))
        else:
            events = end.receive(b"", now_ms)
        told: list[dict[str, Any]] = []
        for event in events:
            if isinstance(event, Received):
                told.append({"received": event.payload.hex()})
            elif isinstance(event, Connected):
                told.append({"connected": event.peer.max_payload})
            elif isinstance(event, Lost) and event.reason is not LostReason.REPLACED:
                told.append({"lost": True})
        written = [as_json(body) for body in FrameDecoder().receive(end.transmit(now_ms))]
        assert told == step["events"], where
        assert written == step["written"], where
