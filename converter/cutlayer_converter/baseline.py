"""The models of ../shared/baseline, which lie beside a checkout of the project but not within it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.verify import FIRMWARE

if TYPE_CHECKING:
    from collections.abc import Sequence
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


def models_to_measure(named: Sequence[Path], *, as_json: bool) -> list[Path]:
    """The models named, or else those of the baseline. Without either, JSON says so and there is none.

    Raises:
        NoBaselineError: There is none, and nobody asked for JSON.
    """
    from cutlayer_boards.console import print_json

    try:
        return list(named) or baseline_models()
    except NoBaselineError as error:
        if not as_json:
            raise
        print_json({"skipped": str(error)})
        return []
