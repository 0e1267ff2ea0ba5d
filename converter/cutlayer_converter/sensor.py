"""The sensor of a bundle's firmware, and the bytes that a node lends it to work in (cutlayer/sensor.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph

# A head with this input hears, unless its firmware's build says otherwise; every other one is given inputs.
# firmware/scripts/bundle.py has the same rule.
SOUND_SHAPE = (49, 40, 1)
SOUND_SCALE = 1.0 / 128.0
SOUND_ZERO_POINT = -128
# sizeof(struct kws_audio_work), on every board.
SOUND_BYTES = 6920


def sensor_bytes(graph: Graph) -> int:
    """Bytes that the sensor of this head works in."""
    given = graph.input
    hears = (
        given.shape[1:] == SOUND_SHAPE
        and given.scale == np.float32(SOUND_SCALE)
        and given.zero_point == SOUND_ZERO_POINT
    )
    return SOUND_BYTES if hears else 0
