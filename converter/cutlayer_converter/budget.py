"""What to say of a head that does not fit its board."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cutlayer_converter.cut import split, valid_cuts
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.head import Head, compile_head
from cutlayer_converter.memory import memory_table, over_budget, table_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cutlayer_boards.spec import BoardSpec
    from cutlayer_converter.bundle import Optimizer
    from cutlayer_converter.trainable import Master, TrainableSpec

# Earlier cuts tried when a head is over the budget: each takes a conversion.
ADVICE_CUTS_MAX = 6


def does_not_fit(
    model: Any, head: Head, samples: NDArray[np.float32], optimizer: Optimizer, board: BoardSpec
) -> ConvertError:
    """The error for a head over the board's budget: the table, and what would make it fit."""
    from cutlayer_boards.spec import boards

    ram, flash = over_budget(head.memory, board)
    over = " and ".join(f"{n:,} bytes of {what}" for n, what in ((ram, "RAM"), (flash, "flash")) if n)
    message = f"the head up to {head.split.layer!r} is {over} over the budget of {board.name}\n" + table_text(
        head.memory, board
    )
    ways = []
    if head.trainable is not None:
        smaller: dict[str, TrainableSpec] = {
            "--master bfloat16": replace(head.trainable, master="bfloat16"),
            "--optimizer sgd": replace(head.trainable, optimizer="sgd"),
        }
        ways += [
            f"use {option}"
            for option, spec in smaller.items()
            if spec != head.trainable and not any(over_budget(memory_table(head.plan, spec, board), board))
        ]
    earlier = _earlier_cut(model, head, samples, optimizer, board)
    if earlier is not None:
        ways.append(f"cut earlier, with --cut {earlier}")
    fitting = [
        other.name
        for other in boards()
        if other.name != board.name
        and not any(over_budget(memory_table(head.plan, head.trainable, other), other))
    ]
    if fitting:
        ways.append(f"take a larger board: --board {fitting[0]}")
    return ConvertError(message, "; or ".join(ways) or "make the layers before the cut smaller")


def _earlier_cut(
    model: Any, deeper: Head, samples: NDArray[np.float32], optimizer: Optimizer, board: BoardSpec
) -> str | None:
    """The deepest of a few earlier cuts whose head fits, and trains if the deeper one does."""
    cuts = valid_cuts(model)
    for name in reversed(cuts[: cuts.index(deeper.split.layer)][-ADVICE_CUTS_MAX:]):
        with contextlib.suppress(ConvertError):
            master: Master = deeper.trainable.master if deeper.trainable else "float32"
            head = compile_head(split(model, name), samples[:1], optimizer, board, master)
            trains = head.trainable is not None or deeper.trainable is None
            if trains and not any(over_budget(head.memory, board)):
                return name
    return None
