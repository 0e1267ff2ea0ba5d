"""The demo's branch of the tree of errors (cutlayer_boards.errors)."""

from __future__ import annotations

from cutlayer_boards.errors import CutlayerError


class DemoError(CutlayerError):
    """Speech that cannot be made or loaded, or a demo that cannot go on."""


class TeachError(DemoError):
    """Somebody cannot teach a board: no live microphone, an unknown word, or nobody speaks."""
