"""Walks through all states of a model, breadth first; tells which cannot end, and how one is reached."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from step_protocol import Move, State


@dataclass(slots=True)
class Graph:
    """The states that were met; of each the shortest way to it and what follows without a new fault."""

    came_from: dict[State, tuple[State | None, str]] = field(default_factory=dict)
    calm: dict[State, list[State]] = field(default_factory=dict)
    depth: int = 0
    moves: int = 0
    broken: State | None = None


def explore(starts: Iterable[State], moves: Callable[[State], Iterable[Move]], most: int) -> Graph:
    """Visits every state, or all up to the first broken one.

    Raises:
        OverflowError: there are more than `most`.
    """
    graph = Graph(dict.fromkeys(starts, (None, "start")))
    queue = deque((state, 0) for state in graph.came_from)
    while queue:
        state, graph.depth = queue.popleft()
        graph.calm[state] = []
        for move in moves(state):
            graph.moves += 1
            if not move.is_fault:
                graph.calm[state].append(move.state)
            if move.state in graph.came_from:
                continue
            graph.came_from[move.state] = (state, move.label)
            if move.state.broken:
                graph.broken = move.state
                return graph
            if len(graph.came_from) > most:
                raise OverflowError(f"more than {most} states")
            queue.append((move.state, graph.depth + 1))
    return graph


def endless(graph: Graph) -> set[State]:
    """The states from which a run without further faults may stop short of the end or go in circles.

    Backwards from the ends: a state is sure to end when all that can follow it is.
    """
    before: dict[State, list[State]] = {state: [] for state in graph.calm}
    open_ways = {state: len(after) for state, after in graph.calm.items()}
    for state, after in graph.calm.items():
        for following in after:
            before[following].append(state)
    sure = deque(state for state in graph.calm if state.ended)
    unsure = set(graph.calm) - set(sure)
    while sure:
        for state in before[sure.popleft()]:
            open_ways[state] -= 1
            if open_ways[state] == 0:
                unsure.discard(state)
                sure.append(state)
    return unsure


def trace(graph: Graph, state: State) -> str:
    """The shortest way to a state, a move a line, with what both sides have after it."""
    lines = []
    here: State | None = state
    while here is not None:
        before, label = graph.came_from[here]
        board, host = here.board, here.host
        slots = ", ".join(f"{slot.run}:{slot.lineage}" if slot else "-" for slot in board.slots)
        kept = ", ".join(checkpoint.lineage for checkpoint in host.checkpoints)
        tail = host.tail.lineage if host.tail else "-"
        sides = f"head {board.ram.run}:{board.ram.lineage} slots [{slots}] | tail {tail} checkpoints [{kept}]"
        lines.append(f"{label:<44} {sides}")
        here = before
    return "\n".join([*reversed(lines), f"=> {state.broken}"] if state.broken else reversed(lines))
