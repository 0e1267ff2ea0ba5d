"""Makes the vectors that the C and the Python code both read: run this file, and it writes them beside it.

Bytes are hex. What is in the files is committed; a test checks that it is what this makes.
"""

from __future__ import annotations

from pathlib import Path

from codec_vectors import codecs
from frame_vectors import frames
from link_vectors import links
from message_vectors import messages
from seal_vectors import seals
from vector_json import as_text

FOLDER = Path(__file__).parent


def made() -> dict[str, str]:
    """The files by name."""
    parts = {
        "frames": frames(),
        "links": links(),
        "seals": seals(),
        "messages": messages(),
        "codecs": codecs(),
    }
    return {f"{name}.json": as_text(part) for name, part in parts.items()}


if __name__ == "__main__":
    for name, text in made().items():
        (FOLDER / name).write_text(text)
