"""MAX_POOL_2D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.ops.average_pool import lower_pool

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator
    from cutlayer_converter.ops.lowered import Lowered


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a maximum pooling and works out its parameters."""
    return lower_pool(graph, operator, "cl_max_pool")
