"""What a person sees on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

SCRIPT = """
import os
from cutlayer_boards.console import console
console().print("before")
kept = os.dup(2)
sink = os.open(os.devnull, os.O_WRONLY)
os.dup2(sink, 2)
os.write(2, b"chatter")
console().print("meanwhile")
os.dup2(kept, 2)
console().print("after")
"""


def test_the_console_is_heard_while_others_are_silenced_on_stderr() -> None:
    """As Tail and the converter do it while TensorFlow is imported."""
    leader, follower = pty.openpty()
    subprocess.run([sys.executable, "-c", SCRIPT], stderr=follower, check=True)
    os.close(follower)
    seen = os.read(leader, 10_000).decode()
    os.close(leader)
    assert seen.split() == ["before", "meanwhile", "after"]
