"""Errors of the converter."""

from __future__ import annotations

from cutlayer_boards.errors import CutlayerError


class ConvertError(CutlayerError):
    """A model, cut, calibration or budget that cannot become a bundle."""
