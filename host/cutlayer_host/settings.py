"""What to train on and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cutlayer_host.optimizer import OptimizerSettings

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Visit:
    """One sample to take: the board's recording and, unless the board knows it, the label."""

    recording: int
    label: int | None = None


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train.

    Attributes:
        batch_size: samples a step.
        learning_rate: of the tail, and of the board's layer unless `board_learning_rate` says otherwise; a
            function takes the step's number, from 1.
        update_head: False leaves the board's layer as it is: only the tail learns.
        restart: begin with the converted weights; False goes on with what the board has.
        activation_codec, gradient_codec: SPEC.md, section 3.3.
        rescale_threshold: share of a step's outputs that may saturate before the scale is widened.
        rescale_factor: how much wider the scale then gets.
        checkpoint_every: steps after which both sides make a step durable; 0: only where the training begins.
        seed: of the gradient's rounding.
    """

    batch_size: int = 8
    learning_rate: float | Callable[[int], float] = 1e-3
    board_learning_rate: float | Callable[[int], float] | None = None
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    update_head: bool = True
    restart: bool = True
    activation_codec: int = 0
    gradient_codec: int = 0
    rescale_threshold: float = 0.02
    rescale_factor: float = 1.25
    checkpoint_every: int = 0
    seed: int = 0
