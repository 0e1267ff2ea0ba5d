"""Where two sides go on when they meet again: at the last step that both have. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from cutlayer_host.board_messages import Welcome


class Way(enum.Enum):
    """What brings the board to the common step. The first is the least work."""

    STAY = "the board is there"
    RESTORE = "the board takes it from its storage"
    RESTART = "the board begins with the converted weights"


@dataclass(frozen=True, slots=True)
class Meeting:
    """The common step, and how the board gets there."""

    step: int
    way: Way


def meet(welcome: Welcome, run: int, *, live: int | None, kept: Collection[int]) -> Meeting | None:
    """The last step of `run` that board and host both have; None when there is none.

    The board has what is in its RAM and in its two slots; the host the step that its tail is at (`live`) and
    those of its checkpoints (`kept`). Step 0 is what the weights were converted to: any board can go there.
    """
    host = {*kept, *([] if live is None else [live])}
    found = [
        Meeting(step, way)
        for way, owner, step in (
            (Way.STAY, welcome.run, welcome.last_step),
            *((Way.RESTORE, slot.run, slot.step) for slot in welcome.held),
        )
        if owner == run and step in host
    ]
    if 0 in host:
        found.append(Meeting(0, Way.RESTART))
    return max(found, key=lambda meeting: meeting.step, default=None)
