"""A serial line in virtual time between two ends that know no I/O: baud rate, latency and faults, all seeded.

What takes a real line an hour takes this one a second, and takes it the same way each time. Used by tests and
by `cutlayer bench link`.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BITS_PER_BYTE = 10  # 8N1: a start bit, eight bits, a stop bit
LATE_MS = 25.0  # what a reordered frame is late by, at most

HOST_BACKLOG_BYTES = 1024
"""What a computer's driver holds of what is to go out."""

BOARD_BACKLOG_BYTES = 64
"""What a board's UART and its driver hold: 1 byte on most, Arduino's ring at most."""


class End(Protocol):
    """One end of the line: Link, HostSession or FirmwareLink."""

    def receive(self, data: bytes, now_ms: float) -> Sequence[Any]:
        """Takes bytes and gives events."""

    def transmit(self, now_ms: float, max_bytes: int | None = None) -> bytes:
        """Gives bytes to write."""

    def next_timeout_ms(self, now_ms: float) -> float | None:
        """Says when to call again, whatever happens."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to frames on the line, each as a fraction of all frames."""

    loss: float = 0.0
    corruption: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0


@dataclass(slots=True)
class Direction:
    """What went from one end to the other, whether it arrived or not."""

    source: End
    target: End
    on_event: Callable[[Any], None]
    backlog_ms: float
    sent_bytes: int = 0
    sent_frames: int = 0
    faults: int = 0
    free_at_ms: float = 0.0
    due_ms: float = 0.0
    partial: bytes = b""
    arrivals: list[tuple[float, int, bytes]] = field(default_factory=list)


class Line:
    """The line. `now_ms` is its clock and `run` turns it.

    The ends' events go to `on_host(event)` and `on_board(event)`. An end is asked for bytes while fewer wait
    to go out than its driver holds: `host_backlog_bytes` or `board_backlog_bytes`.
    """

    def __init__(
        self,
        host: End,
        board: End,
        *,
        on_host: Callable[[Any], None],
        on_board: Callable[[Any], None],
        baud: int = 921_600,
        latency_ms: float = 1.0,
        faults: Faults | None = None,
        seed: int = 0,
        host_backlog_bytes: int = HOST_BACKLOG_BYTES,
        board_backlog_bytes: int = BOARD_BACKLOG_BYTES,
    ) -> None:
        self.now_ms = 0.0
        self.latency_ms = latency_ms
        self.faults = faults or Faults()
        self._byte_ms = 1000.0 * BITS_PER_BYTE / baud
        self.to_board = Direction(host, board, on_board, host_backlog_bytes * self._byte_ms)
        self.to_host = Direction(board, host, on_host, board_backlog_bytes * self._byte_ms)
        self._random = random.Random(seed)
        self._serial = 0

    def run(self, until: Callable[[], bool], limit_ms: float) -> None:
        """Goes on until `until()` holds. Raises TimeoutError when `now_ms` passes `limit_ms` first."""
        directions = (self.to_board, self.to_host)
        self._poke(directions)
        while not until():
            next_ms = max(min(map(self._next_ms, directions)), self.now_ms)
            if next_ms == float("inf"):
                raise TimeoutError(f"after {self.now_ms} ms neither end has anything to do")
            self.now_ms = next_ms
            if self.now_ms > limit_ms:
                raise TimeoutError(f"the line reached {limit_ms} ms first")
            for direction in directions:
                self._deliver(direction)
            self._poke(directions)

    def _poke(self, directions: Iterable[Direction]) -> None:
        for direction in directions:
            self._transmit(direction)

    def _next_ms(self, direction: Direction) -> float:
        return min(direction.due_ms, direction.arrivals[0][0]) if direction.arrivals else direction.due_ms

    def _transmit(self, direction: Direction) -> None:
        """Lets an end write while its driver has room, and notes when to ask it again."""
        source = direction.source
        while (room_ms := direction.backlog_ms - (direction.free_at_ms - self.now_ms)) > self._byte_ms:
            data = source.transmit(self.now_ms, int(room_ms / self._byte_ms))
            if not data:
                timeout_ms = source.next_timeout_ms(self.now_ms)
                # An end whose clock has whole milliseconds may be a little early.
                direction.due_ms = float("inf") if timeout_ms is None else self.now_ms + max(timeout_ms, 0.1)
                return
            self._write(direction, data)
        direction.due_ms = direction.free_at_ms - direction.backlog_ms / 2

    def _write(self, direction: Direction, data: bytes) -> None:
        start_ms = max(direction.free_at_ms, self.now_ms)
        direction.free_at_ms = start_ms + len(data) * self._byte_ms
        direction.sent_bytes += len(data)
        *frames, rest = data.split(b"\0")
        place = 0
        for frame in frames:
            place += len(frame) + 1
            whole, direction.partial = direction.partial + frame + b"\0", b""
            arrival_ms = start_ms + place * self._byte_ms + self.latency_ms
            direction.sent_frames += 1
            for late_ms, arriving in self._suffer(direction, whole):
                self._serial += 1
                heapq.heappush(direction.arrivals, (arrival_ms + late_ms, self._serial, arriving))
        direction.partial += rest

    def _suffer(self, direction: Direction, frame: bytes) -> list[tuple[float, bytes]]:
        """What becomes of a frame: bytes, each with how late they are."""
        faults, chance = self.faults, self._random
        if chance.random() < faults.loss:
            direction.faults += 1
            return []
        late_ms = 0.0
        if chance.random() < faults.corruption:
            direction.faults += 1
            place = chance.randrange(len(frame))
            mangled = bytearray(frame)
            mangled[place] ^= 1 << chance.randrange(8)
            frame = bytes(mangled)
        if chance.random() < faults.reordering:
            direction.faults += 1
            late_ms = chance.uniform(0.0, LATE_MS)
        arriving = [(late_ms, frame)]
        if chance.random() < faults.duplication:
            direction.faults += 1
            arriving.append((late_ms + chance.uniform(0.0, LATE_MS), frame))
        return arriving

    def _deliver(self, direction: Direction) -> None:
        """Hands over what has arrived, and tells the source the time when it asked for that."""
        data = b""
        while direction.arrivals and direction.arrivals[0][0] <= self.now_ms:
            data += heapq.heappop(direction.arrivals)[2]
        if data:
            for event in direction.target.receive(data, self.now_ms):
                direction.on_event(event)
        if direction.due_ms <= self.now_ms:
            other = self.to_host if direction is self.to_board else self.to_board
            for event in direction.source.receive(b"", self.now_ms):
                other.on_event(event)
