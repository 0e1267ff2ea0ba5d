"""The models of ../shared/baseline, which lie beside a checkout of the project but not within it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.verify import FIRMWARE

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = FIRMWARE.parents[1] / "shared" / "baseline"


class NoBaselineError(ConvertError):
    """There are no such models beside this checkout."""


def baseline_models() -> list[Path]:
    """Their .tflite files.

    Raises:
        NoBaselineError: There is none.
    """
    models = sorted(FOLDER.glob("*.tflite"))
    if not models:
        raise NoBaselineError(f"there is no model in {FOLDER}", "name the .tflite files to measure")
    return models
