"""The compiled head as C: cutlayer_model.c and cutlayer_model.h."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_converter.arena import ArenaPlan
    from cutlayer_converter.graph import Graph
    from cutlayer_converter.trainable import TrainableSpec


def emit(
    graph: Graph, plan: ArenaPlan, *, model_id: bytes, trainable: TrainableSpec | None, out: Path
) -> list[Path]:
    """Writes cutlayer_model.c and cutlayer_model.h into the existing folder `out`; returns their paths.

    `model_id` is the bundle's SHA-256 (32 bytes).
    """
    raise NotImplementedError
