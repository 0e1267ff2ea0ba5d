"""Walks through all states of a model, breadth first; tells which cannot end, and how one is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from step_protocol import Move, State


@dataclass(slots=True)
class Graph:
    """The states that were met, by number in the order of their distance from a start."""

    states: list[State] = field(default_factory=list)
    came_from: list[tuple[int | None, str]] = field(default_factory=list)  # the shortest way
    calm: list[list[int]] = field(default_factory=list)  # what follows without a new fault
    depth: int = 0
    moves: int = 0
    broken: State | None = None


def explore(starts: Iterable[State], moves: Callable[[State], Iterable[Move]], most: int) -> Graph:
    """Visits every state, or all up to the first broken one.

    Raises:
        OverflowError: there are more than `most`.
    """
    graph = Graph()
    number_of: dict[State, int] = {}
    depth_of: list[int] = []

    def visit(state: State, before: int | None, label: str) -> int:
        number = number_of.setdefault(state, len(graph.states))
        if number == len(graph.states):
            graph.states.append(state)
            graph.came_from.append((before, label))
            depth_of.append(0 if before is None else depth_of[before] + 1)
        return number

    for start in starts:
        visit(start, None, "start")
    for number, state in enumerate(graph.states):  # which grows meanwhile
        calm: list[int] = []
        graph.calm.append(calm)
        graph.depth = depth_of[number]
        for move in moves(state):
            following = visit(move.state, number, move.label)
            graph.moves += 1
            if not move.is_fault:
                calm.append(following)
            if move.state.broken:
                graph.broken = move.state
                return graph
        if len(graph.states) > most:
            raise OverflowError(f"more than {most} states")
    return graph


def endless(graph: Graph) -> list[State]:
    """The states from which a run without further faults may stop short of the end or go in circles.

    Backwards from the ends: a state is sure to end when all that can follow it is.
    """
    before: list[list[int]] = [[] for _ in graph.states]
    open_ways = [len(after) for after in graph.calm]
    for number, after in enumerate(graph.calm):
        for following in after:
            before[following].append(number)
    is_sure = [state.ended for state in graph.states]
    sure = [number for number, ends in enumerate(is_sure) if ends]
    for ending in sure:  # which grows meanwhile
        for number in before[ending]:
            open_ways[number] -= 1
            if open_ways[number] == 0:
                is_sure[number] = True
                sure.append(number)
    return [state for state, ends in zip(graph.states, is_sure, strict=True) if not ends]


def trace(graph: Graph, state: State) -> str:
    """The shortest way to a state, a move a line, with what both sides have after it."""
    lines = []
    number: int | None = graph.states.index(state)
    while number is not None:
        here, (before, label) = graph.states[number], graph.came_from[number]
        lines.append(f"{label:<44} {_sides(here)}")
        number = before
    return "\n".join([*reversed(lines), *([f"=> {state.broken}"] if state.broken else [])])


def _sides(state: State) -> str:
    board, host = state.board, state.host
    slots = ", ".join(f"{slot.run}:{slot.lineage}" if slot else "-" for slot in board.slots)
    kept = ", ".join(checkpoint.lineage for checkpoint in host.checkpoints)
    tail = host.tail.lineage if host.tail else "-"
    return f"head {board.ram.run}:{board.ram.lineage} slots [{slots}] | tail {tail} checkpoints [{kept}]"
