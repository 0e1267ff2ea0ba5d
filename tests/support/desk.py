"""Somebody at the desk: reads what `cutlayer teach --json` asks for, and says it to the microphone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from spoken_words import SAMPLES_A_SECOND, spoken_word

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CUTLAYER = [sys.executable, "-c", "import sys; from cutlayer_host.cli import main; sys.exit(main())"]
PATIENCE_S = 4.0
"""Says it again when nothing has come of it for so long: the board may not have listened yet."""

Event = dict[str, Any]


@dataclass
class Speaker:
    """One voice, never twice the same, in a room with a little noise."""

    microphone: Path
    seed: int = 0
    variant: str = "m3"
    said: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def say(self, word: str) -> None:
        """Half a second of room, the word, and a second of room."""
        random = self._random
        pitch, speed = int(random.integers(30, 70)), int(random.integers(130, 200))
        sound = np.zeros(SAMPLES_A_SECOND // 2)
        spoken = spoken_word(word, self.variant, pitch, speed) * random.uniform(3000, 12000)
        sound = np.concatenate([sound, spoken, np.zeros(5 * SAMPLES_A_SECOND // 4)])
        sound += random.normal(0, 40, len(sound))
        data = sound.astype("<i2").tobytes()
        self.said.append(data)
        with self.microphone.open("ab") as file:
            file.write(data)


async def at_the_desk(
    arguments: list[str],
    speaker: Speaker,
    *,
    word_for: Callable[[str], str | None] = lambda word: word,
    stop_after: int | None = None,
) -> tuple[list[Event], int, str]:
    """Runs `cutlayer teach ARGUMENTS --json`. Returns its events, exit code and stderr.

    `word_for` says what is said for a word asked for (None: nothing); Ctrl-C comes after `stop_after` words
    have been heard.
    """
    process = await asyncio.create_subprocess_exec(
        *CUTLAYER,
        *("teach", *arguments, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    events: list[Event] = []
    asked: str | None = None
    line = asyncio.create_task(process.stdout.readline())
    try:
        while True:
            done, _ = await asyncio.wait({line}, timeout=PATIENCE_S)
            if not done:
                if asked is not None:
                    speaker.say(asked)
                continue
            if not line.result():
                break
            events.append(json.loads(line.result()))
            line = asyncio.create_task(process.stdout.readline())
            asked = word_for(events[-1]["word"]) if events[-1]["event"] == "listening" else None
            heard = sum(event["event"] == "heard" for event in events)
            if asked is not None and stop_after is not None and heard >= stop_after:
                process.send_signal(signal.SIGINT)
                asked = None
            if asked is not None:
                await asyncio.sleep(0.05)  # nobody answers at once
                speaker.say(asked)
        _, stderr = await process.communicate()
    finally:
        line.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return events, process.returncode or 0, stderr.decode()
