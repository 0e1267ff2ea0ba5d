"""The step protocol of SPEC.md, section 3, as a model: every state and every move of board, host and line.

A *lineage* tells how weights came to be, a letter a step: "o123" is the converted weights after steps 1 to 3.
Head and tail belong together when their lineages are equal. The model checks lineages; the protocol sees run
and step only.

The line keeps order (the link below is reliable). A connection that breaks loses the end of what is on its
way; what comes before it may still reach the board until the next connection opens. SAMPLE to the last
PIECE of GRADIENT is one message here, HALF. A host that is killed starts anew with what is on its disk; a
board that is reset boots from its newest good slot. Faults come at any time, in any number and order: "both
at once" is one after the other with nothing between. The host may checkpoint and save after any step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

RUN = 1
OTHER_RUN = 9
# A step in a lineage: a digit, or a letter when it was made with other chance (R6 broken).
DIGITS, LETTERS = "0123456789", "?abcdefghi"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that make it right. Each can be broken."""

    last_step: int = 5
    storage: bool = True
    commits_on_applied: bool = True  # R1
    checkpoint_before_save: bool = True  # R2
    deletes_on_saved: bool = True  # R3
    protected_slot: str = (
        "in use"  # R4: the slot that the weights in RAM came from or went to, "newest" or "older"
    )
    matches_run: bool = True  # R5
    asks_again: bool = True  # R5: the step of an unanswered APPLY counts as the host's; APPLY is repeated
    same_chance: bool = True  # R6
    forgets_newer: bool = False  # not a rule: rolling back deletes the checkpoints after the common step
    answers_from_memory: bool = True  # a repeated APPLY changes nothing


class Point(NamedTuple):
    """Weights with what is said of them (run, step) and what they are (lineage)."""

    run: int
    step: int
    lineage: str


BLANK = Point(0, 0, "o")
START = Point(RUN, 0, "o")
FOREIGN = Point(OTHER_RUN, 2, "x12")


class Half(NamedTuple):
    """A half step: the gradient that a tail made, and the letter of the step it will be."""

    step: int
    letter: str
    tail: str


class Board(NamedTuple):
    ram: Point
    slots: tuple[Point | None, Point | None] = (None, None)  # newest first; None: empty or torn
    in_use: int = 0  # the slot that the weights in RAM came from or went to
    half: Half | None = None
    saving: str = ""  # then "begun" (the slot is as it was), "torn"
    connected: bool = False
    inbox: tuple[tuple, ...] = ()


class Host(NamedTuple):
    checkpoints: tuple[Point, ...] = ()  # on disk
    saved: int = 0  # on disk: the last SAVED
    tail: Point | None = None  # None: the process has just started
    pending: Half | None = None  # APPLY is sent and not answered
    connected: bool = False
    waits_for: str = ""  # kind of the answer
    inbox: tuple[tuple, ...] = ()


class State(NamedTuple):
    board: Board
    host: Host
    intact: bool = False  # neither side has lost its RAM since the last CONFIGURE
    ended: bool = False
    broken: str = ""  # which promise


class Move(NamedTuple):
    label: str
    is_fault: bool
    state: State


def starts(rules: Rules) -> Iterator[State]:
    """A new board; one that another run has trained; and one where another run trained after ours."""
    yield State(Board(BLANK), Host())
    if rules.storage:
        yield State(Board(FOREIGN, (FOREIGN, None)), Host())
        ours = Point(RUN, 2, "o12")
        yield State(Board(FOREIGN, (FOREIGN, ours)), Host((ours,), saved=2))


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """Everything that can happen next."""
    if state.ended or state.broken:
        return
    board, host = state.board, state.host
    yield from _faults(state)
    if board.connected and board.inbox and not board.saving:
        yield Move(f"board takes {_text(board.inbox[0])}", False, _board_takes(state, rules))
    if board.saving:
        yield Move(*_board_saves(state, rules))
    if host.connected and host.inbox:
        yield Move(f"host takes {_text(host.inbox[0])}", False, _host_takes(state, rules))
    elif host.connected and not board.connected:
        yield Move("host notices that the board is gone", False, _host_leaves(state))
    elif not host.connected:
        yield Move("host connects, sends HELLO", False, _connect(state))
    elif not host.waits_for:
        yield from _host_acts(state, rules)


def _text(message: tuple) -> str:
    return f"{message[0]}({', '.join(str(x) for x in message[1:] if not isinstance(x, tuple))})"


# --- faults ---


def _faults(state: State) -> Iterator[Move]:
    board, host = state.board, state.host
    if host.connected:
        yield Move("CUT: the connection breaks", True, _host_leaves(state))
    booted = _boot(board.slots)
    if booted != board:
        yield Move("RESET of the board", True, state._replace(board=booted, intact=False))
    restarted = Host(host.checkpoints, host.saved)
    if restarted != host:
        yield Move("KILL of the host", True, state._replace(host=restarted, intact=False))
    if board.connected and board.inbox and board.inbox[0][0] == "APPLY" and board.half and not board.saving:
        refusing = _answer(state, board._replace(inbox=board.inbox[1:], half=None), "ERROR", "APPLY")
        yield Move(f"REFUSAL: board answers {_text(board.inbox[0])} with ERROR", True, refusing)


def _host_leaves(state: State) -> State:
    return state._replace(host=state.host._replace(connected=False, waits_for="", inbox=()))


# --- the board ---


def _boot(slots: tuple[Point | None, Point | None]) -> Board:
    return Board(next((slot for slot in slots if slot), BLANK), slots)


def _answer(state: State, board: Board, *message: object) -> State:
    host = state.host
    if host.connected:
        host = host._replace(inbox=(*host.inbox, message))
    return state._replace(board=board, host=host)


def _board_takes(state: State, rules: Rules) -> State:
    kind, *fields = state.board.inbox[0]
    board = state.board._replace(inbox=state.board.inbox[1:])
    if kind == "HELLO":
        held = tuple((slot.run, slot.step) for slot in board.slots if slot)
        return _answer(state, board, "WELCOME", board.ram.run, board.ram.step, held)
    if kind == "RESTORE":
        slot = [slot and slot[:2] for slot in board.slots].index(tuple(fields))
        board = board._replace(ram=board.slots[slot], in_use=slot, half=None)
        return _answer(state, board, "RESTORED", board.ram.lineage)
    if kind == "CONFIGURE":
        ram = START if fields[0] == "restart" else board.ram._replace(run=RUN)
        state = state._replace(intact=True)
        return _answer(state, board._replace(ram=ram, half=None), "CONFIGURED")
    if kind == "HALF":
        half = Half(*fields)
        if half.tail != board.ram.lineage:
            promise = f"step {half.step} is made with tail {half.tail} on head {board.ram.lineage}"
            return state._replace(broken=promise)
        return state._replace(board=board._replace(half=half))
    if kind == "APPLY":
        return _apply(state, board, fields[0], rules)
    if fields[0] != board.ram.step:
        return state._replace(broken=f"the board at step {board.ram.step} is sent SAVE({fields[0]})")
    return state._replace(board=board._replace(saving="begun"))


def _apply(state: State, board: Board, step: int, rules: Rules) -> State:
    ram, half = board.ram, board.half
    if step == ram.step:
        if not rules.answers_from_memory:
            board = board._replace(ram=ram._replace(lineage=ram.lineage + ram.lineage[-1]))
        return _answer(state, board, "APPLIED", step)
    if not half or not half.step == step == ram.step + 1:
        promise = f"the board at step {ram.step} with half step {half} is sent APPLY({step})"
        return state._replace(broken=promise)
    ram = Point(ram.run, step, ram.lineage + half.letter)
    return _answer(state, board._replace(ram=ram, half=None), "APPLIED", step)


def _board_saves(state: State, rules: Rules) -> tuple[str, bool, State]:
    """SAVE: the slot is torn from the first byte that is erased until the header is whole."""
    board = state.board
    held = [slot and slot[:2] for slot in board.slots]
    if board.saving == "begun" and board.ram[:2] in held:
        in_use = held.index(board.ram[:2])
        done = _answer(state, board._replace(saving="", in_use=in_use), "SAVED", board.ram.step)
        return "board has that state saved already", False, done
    if board.saving == "begun":
        kept = {"in use": board.in_use, "newest": 0, "older": 1}[rules.protected_slot]
        torn = board._replace(saving="torn", slots=(board.slots[kept], None), in_use=0)
        return "board begins to write a slot", False, state._replace(board=torn)
    whole = board._replace(saving="", slots=(board.ram, board.slots[0]), in_use=0)
    return "board has written the slot", False, _answer(state, whole, "SAVED", board.ram.step)


# --- the host ---


def _connect(state: State) -> State:
    board = state.board._replace(connected=True, inbox=(("HELLO",),), half=None, saving="")
    host = state.host._replace(connected=True, waits_for="WELCOME", inbox=())
    return State(board, host, state.intact)


def _send(state: State, host: Host, waits_for: str, *messages: tuple) -> State:
    board = state.board
    if board.connected:
        board = board._replace(inbox=board.inbox + messages)
    return state._replace(board=board, host=host._replace(waits_for=waits_for))


def _host_takes(state: State, rules: Rules) -> State:
    kind, *fields = state.host.inbox[0]
    host = state.host._replace(inbox=state.host.inbox[1:])
    if kind == "WELCOME":
        return _meet(state, host, Point(fields[0], fields[1], ""), fields[2], rules)
    if kind == "RESTORED":
        if fields[0] != host.tail.lineage:
            promise = f"the board restored {fields[0]} for the checkpoint {host.tail.lineage}"
            return state._replace(broken=promise)
        return _send(state, host, "CONFIGURED", ("CONFIGURE", "keep"))
    if kind == "CONFIGURED":
        if host.pending:
            return _send(state, host, "APPLIED", ("APPLY", host.pending.step))
        return _send(state, host, "")
    if kind == "APPLIED":
        return _send(state, _commit(host) if host.pending else host, "")
    if kind == "SAVED":
        return _send(state, _saved(host, fields[0], rules), "")
    return _send(state, host._replace(pending=None), "")  # ERROR: CLEAR and the step again


def _meet(state: State, host: Host, ram: Point, slots: tuple[tuple[int, int], ...], rules: Rules) -> State:
    """R5: both go on at the newest step that both have."""
    ours = {point.step: point for point in (START, *host.checkpoints, host.tail) if point}
    pending = host.pending
    if rules.asks_again and pending and (ram.run, ram.step) == (RUN, pending.step):
        return _send(state, host, "CONFIGURED", ("CONFIGURE", "keep"))
    step, message = common((ram.run, ram.step), slots, ours, rules)
    if rules.storage and step < host.saved:
        return state._replace(broken=f"SAVED({host.saved}) was heard, and the common step is {step}")
    if state.intact and host.tail and step < host.tail.step:
        return state._replace(broken=f"a cut alone brings the tail from step {host.tail.step} to {step}")
    if rules.forgets_newer:
        host = host._replace(checkpoints=tuple(c for c in host.checkpoints if c.step <= step))
    waits_for = "RESTORED" if message[0] == "RESTORE" else "CONFIGURED"
    return _send(state, host._replace(tail=ours[step], pending=None), waits_for, message)


def common(
    ram: tuple[int, int], slots: tuple[tuple[int, int], ...], ours: Container[int], rules: Rules
) -> tuple[int, tuple]:
    """The newest step that both have, and the message that brings the board there. Least work first."""
    ways = [(*ram, ("CONFIGURE", "keep")), *((*slot, ("RESTORE", *slot)) for slot in slots)]
    found = [(step, way) for run, step, way in ways if step in ours and (run == RUN or not rules.matches_run)]
    return max([*found, (0, ("CONFIGURE", "restart"))], key=lambda way: way[0])


def _commit(host: Host) -> Host:
    step, letter, _ = host.pending
    return host._replace(tail=Point(RUN, step, host.tail.lineage + letter), pending=None)


def _saved(host: Host, step: int, rules: Rules) -> Host:
    """R3: now, and not before, what is older than the previous save may go."""
    if rules.checkpoint_before_save:
        kept = tuple(c for c in host.checkpoints if c.step >= host.saved)
        host = host._replace(checkpoints=kept)
    return host._replace(saved=step)


def _keep(host: Host) -> Host:
    """Writes a checkpoint: file and row are whole or not there."""
    others = tuple(c for c in host.checkpoints if c.step != host.tail.step)
    return host._replace(checkpoints=tuple(sorted((*others, host.tail))))


def _host_acts(state: State, rules: Rules) -> Iterator[Move]:
    host = state.host
    step = host.tail.step
    is_saved = host.saved >= step or not rules.storage
    is_kept = step == 0 or host.tail in host.checkpoints
    if not is_kept and (rules.checkpoint_before_save or is_saved):
        yield Move(f"host makes checkpoint {step} durable", False, state._replace(host=_keep(host)))
    if not is_saved and (is_kept or not rules.checkpoint_before_save):
        if not rules.deletes_on_saved:
            host = host._replace(checkpoints=(host.tail,))
        yield Move(f"host sends SAVE({step})", False, _send(state, host, "SAVED", ("SAVE", step)))
    if step < rules.last_step:
        letters = DIGITS[step + 1] if rules.same_chance else DIGITS[step + 1] + LETTERS[step + 1]
        for letter in letters:
            yield Move(f"host sends HALF and APPLY({step + 1})", False, _step(state, letter, rules))
    elif is_kept and is_saved:
        yield Move("host ends the run", False, _end(state, rules))


def _step(state: State, letter: str, rules: Rules) -> State:
    tail = state.host.tail
    half = Half(tail.step + 1, letter, tail.lineage)
    host = state.host._replace(pending=half)
    if not rules.commits_on_applied:
        host = _commit(host)
    return _send(state, host, "APPLIED", ("HALF", *half), ("APPLY", half.step))


def _end(state: State, rules: Rules) -> State:
    """Each step once on both sides. A board without storage may have been reset since its last answer."""
    board, tail = state.board, state.host.tail.lineage
    heads = {slot.lineage for slot in (board.ram, board.slots[0] if rules.storage else None) if slot}
    if not rules.storage and board == _boot(board.slots):
        heads = {tail}
    steps = tail.translate(str.maketrans(LETTERS, DIGITS))
    if heads != {tail} or steps != "o" + DIGITS[1 : rules.last_step + 1]:
        return state._replace(broken=f"the run ends with tail {tail} and heads {sorted(heads)}")
    return state._replace(ended=True)
