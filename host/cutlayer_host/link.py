"""The link: reliable messages over a byte pipe that loses and mangles (SPEC.md, section 2). No I/O, no clock.

The caller owns the pipe and the clock, and turns one crank:

    link.connect(now_ms)                        the host's end, once a connection
    events = link.receive(data, now_ms)         what came; b"" when only time has passed
    link.send(payload)                          a message for the other side
    pipe.write(link.transmit(now_ms))           after any of the above
    link.next_timeout_ms(now_ms)                turn the crank again after this at the latest

Times are milliseconds of any monotonic clock. With a guard, every connection is sealed.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import TypeAlias

from cutlayer_host.body import FrameKind, Header, Parameters, fits
from cutlayer_host.errors import LinkLost
from cutlayer_host.guard import BoardGuard, CounterSpent, HostGuard, Refusal, Seal, Security
from cutlayer_host.silence import Silence
from cutlayer_host.window import ReceiveWindow, SendWindow
from cutlayer_host.wire import HEADER_BYTES, SEAL_BYTES, WIRE_VERSION, FrameDecoder, encode_frame

SYN_INTERVAL_MS = 500.0
# A SYN_ACK without a good proof may be a stranger's: the board's own has this long to come.
REFUSED_MS = 2 * SYN_INTERVAL_MS
DEAD_MS = 10_000.0

_RESETS_MAX = 8


class Role(enum.Enum):
    """Which end of the link: the host connects, the board answers."""

    HOST = "host"
    BOARD = "board"


class LinkState(enum.Enum):
    """A board that waits for SYN is CLOSED."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPEN = "open"


class LostReason(enum.Enum):
    """Why a connection ended."""

    RESET = "the other side has no such connection: it was reset, or another host has taken it"
    SILENT = "the other side has fallen silent"
    REPLACED = "the host has connected anew"
    VERSION = "the other side speaks another version of the wire"
    SEALED = "the board wants a key"
    UNKEYED = Refusal.UNKEYED.value
    UNKNOWN = Refusal.UNKNOWN.value
    UNPROVED = Refusal.UNPROVED.value
    SPENT = "the connection has sealed as many frames as it may"


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection has come to be. `peer` is what the other side takes."""

    peer: Parameters


@dataclass(frozen=True, slots=True)
class Received:
    """One message: in order, once."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, and with it what was not acknowledged.

    `wire_version` is the other side's when the reason is VERSION.
    """

    reason: LostReason
    wire_version: int = WIRE_VERSION


LinkEvent: TypeAlias = Connected | Received | Lost


class Link:
    """One end of the link.

    Attributes:
        busy: while true, the other side is given no credit.
        expecting: while true, a silent other side is probed, and missed after `dead_ms`.
        guard: what seals the next connections; None: they are plain. The present one stays as it is.
        state, peer, connection, seal: read only; `seal` is None on a plain connection.
    """

    def __init__(
        self,
        role: Role,
        parameters: Parameters | None = None,
        *,
        dead_ms: float = DEAD_MS,
        rng: random.Random | None = None,
        guard: HostGuard | BoardGuard | None = None,
    ) -> None:
        self.role = role
        self.guard = guard
        self.parameters = parameters or Parameters()
        if guard is not None:
            self.parameters.check_sealed()
        self.dead_ms = dead_ms
        self.state = LinkState.CLOSED
        self.peer: Parameters | None = None
        self.connection = 0
        self.expecting = False
        self.decoder = FrameDecoder(self.parameters.max_payload + (0 if guard is None else SEAL_BYTES))
        self.frames_sent = 0
        self.bytes_sent = 0
        self._rng = rng or random.Random()
        self._busy = False
        self._sending: SendWindow | None = None
        self._ack_owed = False
        self._break_due = False
        self._spent = False
        self._syn_due_ms = 0.0
        self._syn_ack_for = 0
        self._drop_connection(0.0)

    def connect(self, now_ms: float) -> None:
        """Starts a new connection, host's end only; drops the present one without an event."""
        if self.role is not Role.HOST:
            raise ValueError("a board waits for SYN, it does not connect")
        self._drop_connection(now_ms)
        before = self.connection
        while self.connection in (0, before):
            self.connection = self._rng.randrange(1, 1 << 16)
        self.state = LinkState.CONNECTING
        self._break_due = True

    def send(self, payload: bytes) -> None:
        """Queues one message of 1 to `peer.max_payload` bytes. Raises LinkLost when not connected."""
        if self._sending is None or self.peer is None:
            raise LinkLost("the link is not open", "connect first")
        if not 1 <= len(payload) <= self.peer.max_payload:
            raise ValueError(f"a message has {len(payload)} bytes, must have 1 to {self.peer.max_payload}")
        self._sending.queue.append(payload)

    @property
    def busy(self) -> bool:
        """Whether this end takes no more for now."""
        return self._busy

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._ack_owed = self._ack_owed or (self._busy and not busy and self.state is LinkState.OPEN)
        self._busy = busy

    @property
    def idle(self) -> bool:
        """Everything sent has been acknowledged."""
        return self._sending is None or self._sending.idle

    @property
    def sent_again(self) -> int:
        """DATA frames sent more than once, in this connection."""
        return self._sending.sent_again if self._sending else 0

    def receive(self, data: bytes, now_ms: float) -> list[LinkEvent]:
        """Takes bytes as they come, b"" when only time has passed. Never raises for anything in `data`."""
        events: list[LinkEvent] = []
        if self._spent:
            self._lose(Lost(LostReason.SPENT), events, now_ms)
        for body in self.decoder.receive(data):
            self._take(body, now_ms, events)
        if self._refused is not None and now_ms >= self._refused[1]:
            self._lose(self._refused[0], events, now_ms)
        self._silence.watch(self._waiting(), now_ms)
        if self._silence.lasted_ms(now_ms) >= self.dead_ms:
            self._lose(Lost(LostReason.SILENT), events, now_ms)
        return events

    def transmit(self, now_ms: float, max_bytes: int | None = None) -> bytes:
        """What to write to the pipe now.

        Stops after the frame that reaches `max_bytes`; call again for the rest.
        """
        frames: list[bytes] = []
        if self.state is LinkState.CONNECTING and now_ms >= self._syn_due_ms:
            if self._break_due:
                frames.append(b"\0")
                self._break_due = False
            self._syn_due_ms = now_ms + SYN_INTERVAL_MS
            frames.append(self._parameters_frame(FrameKind.SYN, self.connection))
        while self._resets:
            frames.append(encode_frame(Header(FrameKind.RESET, self._resets.pop()).encode()))
        if self._syn_ack_for:
            frames.append(self._parameters_frame(FrameKind.SYN_ACK, self._syn_ack_for))
            self._syn_ack_for = 0
        if self._sending is not None and not self._spent:
            try:
                self._transmit_open(self._sending, now_ms, max_bytes, frames)
            except CounterSpent:
                self._spent = True
        self._silence.watch(self._waiting(), now_ms)
        self.frames_sent += len(frames)
        data = b"".join(frames)
        self.bytes_sent += len(data)
        return data

    def next_timeout_ms(self, now_ms: float) -> float | None:
        """The ms after which to call `receive` and `transmit` at the latest; None: when there is news."""
        if self._resets or self._syn_ack_for or self._ack_owed or self._ping_owed or self._spent:
            return 0.0
        due: list[float] = []
        if self.state is LinkState.CONNECTING:
            due.append(self._syn_due_ms)
        if self._refused is not None:
            due.append(self._refused[1])
        if self._sending is not None:
            window_timeout_ms = self._sending.next_timeout_ms(now_ms)
            if window_timeout_ms is not None:
                due.append(now_ms + window_timeout_ms)
            if (probe_ms := self._probe_due_ms(self._sending)) is not None:
                due.append(probe_ms)
        if self._waiting():
            due.append(now_ms - self._silence.lasted_ms(now_ms) + self.dead_ms)
        return max(min(due) - now_ms, 0.0) if due else None

    def _drop_connection(self, now_ms: float) -> None:
        self.state = LinkState.CLOSED
        self.peer = None
        self._sending = None
        self._receiving = ReceiveWindow(self.parameters.window_bytes, self.parameters.window_frames)
        self.seal: Seal | None = None
        self._ack_owed = False
        self._ping_owed = False
        self._spent = False
        self._refused: tuple[Lost, float] | None = None  # and when that is final
        self._syn_due_ms = now_ms
        self._syn_ack_for = 0
        self._break_due = False
        self._resets: set[int] = set()
        self._silence = Silence(now_ms)

    def _open(
        self, peer: Parameters, events: list[LinkEvent], now_ms: float, seal: Seal | None = None
    ) -> None:
        seal_bytes = 0 if seal is None else SEAL_BYTES
        ours = self.parameters
        self.state = LinkState.OPEN
        self.peer = peer
        self.seal = seal
        self._sending = SendWindow(peer.window_bytes, peer.window_frames, now_ms, seal_bytes)
        self._receiving = ReceiveWindow(ours.window_bytes, ours.window_frames, seal_bytes)
        self._refused = None
        self._silence.broken(now_ms)
        self._silence.asked(now_ms)
        events.append(Connected(peer))

    def _lose(self, lost: Lost, events: list[LinkEvent], now_ms: float) -> None:
        self._drop_connection(now_ms)
        events.append(lost)

    def _waiting(self) -> bool:
        if self.state is LinkState.OPEN:
            return self.expecting or not self.idle
        return self.state is LinkState.CONNECTING

    def _probe_due_ms(self, sending: SendWindow) -> float | None:
        """When to send PING, if nothing changes until then."""
        if sending.stuck:
            return self._silence.ask_due_ms(sending.timer.rto_ms)
        return self._silence.ask_due_ms() if self.expecting and sending.idle else None

    def _take(self, body: bytes, now_ms: float, events: list[LinkEvent]) -> None:
        """One body through the table of SPEC.md, section 2."""
        opened = self._unseal(body, events, now_ms)
        kind, connection, seq, ack, sack, credit = Header.decode(body)
        payload = b"" if opened is None else opened[HEADER_BYTES:]
        if opened is None or not connection or not fits(kind, payload):
            self.decoder.counters.frames -= 1
            self.decoder.counters.malformed += 1
        elif kind == FrameKind.SYN:
            self._take_syn(connection, payload, events, now_ms)
        elif connection != self.connection or self.state is LinkState.CLOSED:
            if kind != FrameKind.RESET and len(self._resets) < _RESETS_MAX:
                self._resets.add(connection)
        elif self.state is LinkState.CONNECTING:
            if kind == FrameKind.SYN_ACK:
                self._take_syn_ack(payload, events, now_ms)
        elif kind == FrameKind.RESET:
            self._lose(Lost(LostReason.RESET), events, now_ms)
        elif kind != FrameKind.SYN_ACK and self._sending is not None:
            self._silence.broken(now_ms)
            self._sending.acknowledge(ack, sack, credit, now_ms)
            if kind == FrameKind.DATA:
                self._ack_owed = True
                events.extend(map(Received, self._receiving.take(seq, payload)))
            elif kind == FrameKind.PING:
                self._ack_owed = True

    def _unseal(self, body: bytes, events: list[LinkEvent], now_ms: float) -> bytes | None:
        """The body without its seal, or as it is where none is due; None when it has to be dropped."""
        kind, connection, *_ = Header.decode(body)
        seal = self.seal if connection == self.connection else None
        if kind in (FrameKind.SYN, FrameKind.SYN_ACK):
            return body
        if seal is not None and (opened := seal.open(body)) is not None:
            return opened
        if isinstance(self.guard, BoardGuard) and (first := self.guard.open(connection, body)) is not None:
            opened, syn, seal = first
            if self.state is LinkState.OPEN:
                self._lose(Lost(LostReason.REPLACED), events, now_ms)
            self.connection = connection
            if (peer := Parameters.decode(syn)) is not None:
                self._open(peer, events, now_ms, seal)
            return opened
        # All else on a sealed connection is a stranger's; of it, a RESET makes a host connect anew.
        return body if seal is None or (kind == FrameKind.RESET and self.role is Role.HOST) else None

    def _take_syn(self, connection: int, payload: bytes, events: list[LinkEvent], now_ms: float) -> None:
        if self.role is Role.HOST:
            return
        self._syn_ack_for = connection
        if payload[0] != WIRE_VERSION:
            return
        if isinstance(self.guard, BoardGuard):
            self.guard.meet(connection, payload)
        elif self.state is LinkState.OPEN and connection == self.connection:
            self._silence.broken(now_ms)
        elif payload[1] == Security.PLAIN and (peer := Parameters.decode(payload)) is not None:
            if self.state is LinkState.OPEN:
                self._lose(Lost(LostReason.REPLACED), events, now_ms)
            self.connection = connection
            self._open(peer, events, now_ms)
            self._syn_ack_for = connection

    def _take_syn_ack(self, payload: bytes, events: list[LinkEvent], now_ms: float) -> None:
        peer = Parameters.decode(payload) if payload[0] == WIRE_VERSION else None
        if peer is None:
            self._refuse(Lost(LostReason.VERSION, payload[0]), events, now_ms)
        elif isinstance(self.guard, HostGuard):
            met = self.guard.meet(payload)
            if isinstance(met, Refusal):
                self._refuse(Lost(LostReason[met.name]), events, now_ms)
            else:
                self._open(peer, events, now_ms, met)
                self._ping_owed = True  # the board waits for the first sealed frame
        elif payload[1] == Security.PLAIN:
            self._open(peer, events, now_ms)
        else:
            self._refuse(Lost(LostReason.SEALED), events, now_ms)

    def _refuse(self, lost: Lost, events: list[LinkEvent], now_ms: float) -> None:
        if self.guard is None:
            self._lose(lost, events, now_ms)
        elif self._refused is None:
            self._refused = lost, now_ms + REFUSED_MS

    def _transmit_open(
        self, sending: SendWindow, now_ms: float, max_bytes: int | None, frames: list[bytes]
    ) -> None:
        receiving = self._receiving
        fields = (receiving.expected, receiving.sack, 0 if self._busy else receiving.credit)
        room = float("inf") if max_bytes is None else max_bytes - sum(map(len, frames))
        while room > 0 and (flight := sending.next_frame(now_ms)) is not None:
            header = Header(FrameKind.DATA, self.connection, flight.seq, *fields)
            frames.append(self._frame(header, flight.payload))
            room -= len(frames[-1])
            self._ack_owed = False
        kind = FrameKind.ACK if self._ack_owed else None
        probe_ms = self._probe_due_ms(sending)
        if self._ping_owed or (probe_ms is not None and now_ms >= probe_ms):
            self._silence.asked(now_ms)
            kind = FrameKind.PING
        if kind is not None:
            self._ack_owed = self._ping_owed = False
            frames.append(self._frame(Header(kind, self.connection, sending.next_seq, *fields)))

    def _frame(self, header: Header, payload: bytes = b"") -> bytes:
        body = header.encode() + payload
        return encode_frame(body if self.seal is None else self.seal.seal(body))

    def _parameters_frame(self, kind: FrameKind, connection: int) -> bytes:
        header = Header(kind, connection, credit=self.parameters.window_bytes)
        if self.guard is None:
            payload = self.parameters.encode()
        else:
            payload = self.guard.introduce(connection, self.parameters.encode(Security.SEALED))
        return encode_frame(header.encode() + payload)
