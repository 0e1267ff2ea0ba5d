"""Codecs: activations, and gradients with their masks."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host import tensors
from cutlayer_host.codes import ACTIVATION_CODECS, GRADIENT_CODECS

if TYPE_CHECKING:
    from vector_json import Json


def codecs() -> Json:
    """Activations under every codec, and gradients with their masks under every pair of codecs."""
    rng = np.random.default_rng(1)
    tensor_of = {
        "every value": np.arange(-128, 128).astype(np.int8),
        "half zeros": np.where(rng.random(37) < 0.5, -128, rng.integers(-128, 128, 37)).astype(np.int8),
        "one": np.array([5], np.int8),
        "all at the zero point": np.full(17, -128, np.int8),
    }
    activations, gradients = [], []
    for name, values in tensor_of.items():
        zero_point = 3 if name == "every value" else -128
        for codec in ACTIVATION_CODECS:
            data = tensors.activation_data(values, codec, zero_point)
            activations.append(
                {
                    "name": name,
                    "codec": codec,
                    "zero_point": zero_point,
                    "values": values.tolist(),
                    "data": data.hex(),
                    "sent": tensors.as_sent(values, codec).tolist(),
                    "crc": zlib.crc32(values.data),
                }
            )
        for codec in GRADIENT_CODECS:
            for activation_codec in ACTIVATION_CODECS[:3]:
                low, high = (-128, 127) if name == "one" else (-120, 100)
                mask = tensors.masked(values, activation_codec, low, high)
                limit = tensors.GRADIENT_LIMITS[codec]
                g = rng.integers(-limit, limit, values.size, endpoint=True).astype(np.int8)
                gradients.append(
                    {
                        "name": name,
                        "codec": codec,
                        "activation_codec": activation_codec,
                        "activation_min": low,
                        "activation_max": high,
                        "values": values.tolist(),
                        "masked": mask.astype(int).tolist(),
                        "gradient": np.where(mask, 0, g).tolist(),
                        "data": tensors.gradient_data(g, mask, codec).hex(),
                    }
                )
    return {"activations": activations, "gradients": gradients}
