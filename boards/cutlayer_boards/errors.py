"""The root of every error that a user can meet.

CutlayerError
    BoardError      boards: unknown board, emulator or toolchain missing, firmware does not build or boot
    ConvertError    converter: a model, cut, calibration or budget that cannot become a bundle
    HostError       host: link, session, tail, bundle mismatch (tree in cutlayer_host.errors)
    DemoError       demos: speech that cannot be made or loaded

The message names the thing, its value and the next step; `hint`, where given, is that step on its own line.
"""

from __future__ import annotations


class CutlayerError(Exception):
    """An error with a message for a person and, where known, what to do next."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class BoardError(CutlayerError):
    """A board is unknown, or its firmware cannot be built, booted or reached."""
