"""The optimizer's settings: the same for the tail and for the board's layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "adam"]


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """An optimizer without its learning rate, which each step names.

    Attributes:
        name: "sgd" (with momentum) or "adam" (Kingma and Ba 2015).
        momentum: SGD's momentum, Adam's beta 1; 0 <= x < 1.
        beta2: Adam's beta 2; 0 <= x < 1.
        epsilon: Adam's epsilon; > 0.
    """

    name: OptimizerName = "adam"
    momentum: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
