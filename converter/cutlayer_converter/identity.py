"""The model id: SHA-256 of what a head and its tail compute.

Of the content and not of the files: a .keras file holds the date, and TensorFlow's names depend on what a
process built before.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Tensor


def model_id(graph: Graph, tail: Any, *, optimizer: str, master: str = "float32") -> bytes:
    """32 bytes; equal for equal heads, tails (Keras models), optimizers and kinds of master weights."""
    digest = hashlib.sha256()
    for tensor in graph.tensors:
        _add_tensor(digest, tensor)
    for operator in graph.operators:
        options = sorted((name, str(value)) for name, value in operator.options.items())
        _add(digest, repr((operator.kind, operator.inputs, operator.outputs, options)).encode())
    _add(digest, repr((graph.input.index, graph.output.index)).encode())
    _add(digest, tail.to_json().encode())
    for weights in tail.get_weights():
        _add_array(digest, np.asarray(weights))
    _add(digest, (optimizer if master == "float32" else f"{optimizer} {master}").encode())
    return digest.digest()


def _add_tensor(digest: Any, tensor: Tensor) -> None:
    _add(digest, repr((tensor.shape, tensor.dtype, tensor.zero_point, tensor.channel_axis)).encode())
    _add_array(digest, tensor.scales)
    if tensor.values is not None:
        _add_array(digest, tensor.values)


def _add_array(digest: Any, array: Any) -> None:
    _add(digest, repr((array.shape, array.dtype.str)).encode())
    _add(digest, array.tobytes())


def _add(digest: Any, data: bytes) -> None:
    # With its length in front, so that no two lists of parts give the same bytes.
    digest.update(len(data).to_bytes(8, "little") + data)
