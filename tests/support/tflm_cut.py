"""The smashed data as TensorFlow Lite Micro makes it from a head.tflite."""

from __future__ import annotations

import numpy as np

from cutlayer_converter.graph import read_graph
from cutlayer_converter.verify import Oracle


def smashed_by_tflm(tflite: bytes, samples: np.ndarray) -> np.ndarray:
    """The real values at the cut, float32, for real inputs."""
    graph, oracle = read_graph(tflite), Oracle(tflite)
    out = []
    for sample in samples:
        q = np.clip(np.rint(sample / graph.input.scale) + graph.input.zero_point, -128, 127)
        oracle.run(q.astype(np.int8).reshape(graph.input.shape))
        out.append(oracle.tensor(graph.output.index).astype(np.float32) - graph.output.zero_point)
    return np.concatenate(out) * graph.output.scale
