"""The step protocol, explored in full; and each of its rules broken, which must be found. `-s` prints it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from explorer import Graph, endless, explore, trace
from step_protocol import RUN, Rules, State, common, moves, starts

from cutlayer_host.meeting import Way, meet

MOST_STATES = 300_000
DESIGN = Path(__file__).parents[2] / "DESIGN.md"


def walk(rules: Rules) -> Graph:
    return explore(starts(rules), lambda state: moves(state, rules), MOST_STATES)


def met(graph: Graph) -> set[tuple]:
    """What a host knew at each WELCOME that it took: RAM, slots, its tail's step, its checkpoints."""
    return {
        (*state.host.inbox[0][1:], state.host.tail and state.host.tail.step, state.host.checkpoints)
        for state in graph.states
        if state.host.inbox and state.host.inbox[0][0] == "WELCOME"
    }


def check_host_chooses_alike(graph: Graph, rules: Rules) -> int:
    """The host's own code takes the way of the model at every meeting. Returns how many there were."""
    messages = {
        Way.STAY: lambda _: ("CONFIGURE", "keep"),
        Way.RESTORE: lambda step: ("RESTORE", RUN, step),
        Way.RESTART: lambda _: ("CONFIGURE", "restart"),
    }
    meetings = met(graph)
    for run, last_step, slots, live, checkpoints in meetings:
        kept = {0, *(checkpoint.step for checkpoint in checkpoints)}
        held = [SimpleNamespace(run=slot[0], step=slot[1]) for slot in slots]
        welcome = SimpleNamespace(run=run, last_step=last_step, held=held)
        meeting = meet(welcome, RUN, live=live, kept=kept)
        ours = kept | ({live} if live is not None else set())
        due = common((run, last_step), slots, ours, rules)
        assert (meeting.step, messages[meeting.way](meeting.step)) == due, (welcome, kept, live)
    return len(meetings)


@pytest.mark.parametrize("storage", [True, False], ids=["storage", "no storage"])
def test_every_step_is_made_once_whatever_fails(storage: bool) -> None:
    rules = Rules(storage=storage)
    graph = walk(rules)
    assert not graph.broken, trace(graph, graph.broken)
    assert any(state.ended for state in graph.states)
    stuck = endless(graph)
    assert not stuck, trace(graph, stuck[0])
    meetings = check_host_chooses_alike(graph, rules)
    walked = f"{len(graph.states):,} states, {graph.moves:,} moves, {graph.depth} deep"
    print(f"\n{'with' if storage else 'without'} storage: {walked}; {meetings:,} different meetings")
    assert walked in " ".join(DESIGN.read_text().split()), "DESIGN.md quotes another walk"


# What is broken, and the promise that is then not kept.
BROKEN = {
    "R1: the tail is committed when APPLY is sent": (
        Rules(commits_on_applied=False),
        "a cut alone brings the tail",
    ),
    "R2: the checkpoint is made after SAVED": (
        Rules(checkpoint_before_save=False),
        "was heard, and the common step",
    ),
    "R3: SAVE is sent and the older checkpoints deleted": (
        Rules(deletes_on_saved=False),
        "was heard, and the common step",
    ),
    "R4: the board writes the newest slot": (Rules(protected_slot="older"), "was heard, and the common step"),
    "R4: the board writes the older slot though it is in use": (
        Rules(protected_slot="newest"),
        "was heard, and the common step",
    ),
    "R5: the host looks at the step and not at the run": (Rules(matches_run=False), "is made with tail"),
    "R5: the host does not repeat an unanswered APPLY": (
        Rules(asks_again=False),
        "a cut alone brings the tail",
    ),
    "R6: a step done again has other chance": (Rules(same_chance=False, last_step=3), "is made with tail"),
    "the board applies a repeated APPLY again": (Rules(answers_from_memory=False), "is made with tail"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_rule_is_found(fault: str) -> None:
    rules, promise = BROKEN[fault]
    graph = walk(rules)
    assert graph.broken, f"{fault}: nothing found in {len(graph.states)} states"
    print(f"\n{fault} ({len(graph.states)} states)\n{trace(graph, graph.broken)}")
    assert promise in graph.broken.broken


def test_without_the_same_chance_rolling_back_deletes_what_is_newer() -> None:
    """A live sensor does not say the same twice: then no checkpoint of the steps that are undone may stay."""
    graph = walk(Rules(same_chance=False, forgets_newer=True, last_step=3))
    assert not graph.broken, trace(graph, graph.broken)
    assert not endless(graph)


def test_a_walk_that_cannot_end_is_seen() -> None:
    """With a host that never takes APPLIED no state is sure to end."""
    rules = Rules(storage=False, last_step=1)

    def halting(state: State) -> list:
        return [move for move in moves(state, rules) if not move.label.startswith("host takes APPLIED")]

    graph = explore(starts(rules), halting, MOST_STATES)
    assert endless(graph) == graph.states
