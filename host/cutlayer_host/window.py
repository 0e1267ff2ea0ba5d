"""The two windows of a connection: DATA on its way, and DATA that came (SPEC.md, section 2)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from cutlayer_host.wire import frame_bytes_max

MODULUS = 1 << 16
SACK_BITS = 16
MAX_WINDOW_FRAMES = SACK_BITS + 1

RTO_FIRST_MS = 500.0
RTO_MIN_MS = 50.0
RTO_MAX_MS = 1000.0


class RetransmissionTimer:
    """The time-out of RFC 6298, in ms."""

    def __init__(self) -> None:
        self.rto_ms = RTO_FIRST_MS
        self.shortest_ms = 0.0
        self._smoothed_ms: float | None = None
        self._variation_ms = 0.0

    def sample(self, round_trip_ms: float) -> None:
        """Takes a round trip of a frame that was sent once."""
        if self._smoothed_ms is None:
            self.shortest_ms = round_trip_ms
            self._smoothed_ms = round_trip_ms
            self._variation_ms = round_trip_ms / 2
        else:
            self.shortest_ms = min(self.shortest_ms, round_trip_ms)
            self._variation_ms += (abs(self._smoothed_ms - round_trip_ms) - self._variation_ms) / 4
            self._smoothed_ms += (round_trip_ms - self._smoothed_ms) / 8
        self.rto_ms = min(max(self._smoothed_ms + 4 * self._variation_ms, RTO_MIN_MS), RTO_MAX_MS)

    def expire(self) -> None:
        """Doubles the time-out."""
        self.rto_ms = min(2 * self.rto_ms, RTO_MAX_MS)


@dataclass(slots=True)
class Flight:
    """A DATA frame on its way. `order` counts transmissions: of two frames the later one has the larger."""

    seq: int
    payload: bytes
    frame_bytes: int
    first_order: int
    order: int
    sent_ms: float
    transmissions: int = 1
    lost: bool = False
    arrived: bool = False


class SendWindow:
    """What is to be sent, what is on its way, and when to send it again."""

    def __init__(self, credit: int, window_frames: int, now_ms: float, seal_bytes: int = 0) -> None:
        self.timer = RetransmissionTimer()
        self.queue: deque[bytes] = deque()
        self.next_seq = 0
        self.timeouts = 0
        self.sent_again = 0
        self._flights: deque[Flight] = deque()
        self._flight_bytes = 0
        self._credit = credit
        self._window_frames = window_frames
        self._seal_bytes = seal_bytes
        self._order = 0
        self._progress_ms = now_ms

    @property
    def idle(self) -> bool:
        """Everything that was given has arrived."""
        return not self.queue and not self._flights

    @property
    def stuck(self) -> bool:
        """There is something to send, but no credit, and nothing on its way that would bring any."""
        return bool(self.queue) and not self._flights and not self._has_credit()

    def acknowledge(self, ack: int, sack: int, credit: int, now_ms: float) -> None:
        """Takes the acknowledgement fields of any frame; a stale or impossible `ack` changes nothing."""
        advance = (ack - self.next_seq + len(self._flights)) % MODULUS
        if advance > len(self._flights):
            return
        self._credit = credit
        arrived = [self._flights.popleft() for _ in range(advance)]
        if sack:
            # The frame that `ack` names is missing; bit i stands for the one i + 1 after it.
            named = (flight for bit, flight in enumerate(self._flights, -1) if bit >= 0 and sack >> bit & 1)
            arrived.extend(named)
        arrived = [flight for flight in arrived if not flight.arrived]
        if arrived:
            self._progress(arrived, now_ms)

    def next_frame(self, now_ms: float) -> Flight | None:
        """The frame to transmit now, or None. Each call counts as a transmission at `now_ms`."""
        for flight in self._flights:
            if flight.lost:
                return self._again(flight, now_ms)
        if self._flights and now_ms >= self._expiry_ms():
            self.timeouts += 1
            self.timer.expire()
            return self._again(self._flights[0], now_ms)
        if not self.queue or len(self._flights) >= self._window_frames or not self._has_credit():
            return None
        payload = self.queue.popleft()
        flight = Flight(self.next_seq, payload, self._frame_bytes(payload), self._order, self._order, now_ms)
        self._order += 1
        self.next_seq = (self.next_seq + 1) % MODULUS
        self._flights.append(flight)
        self._flight_bytes += flight.frame_bytes
        return flight

    def next_timeout_ms(self, now_ms: float) -> float | None:
        """The ms until `next_frame` may have something; None when only news can change that."""
        if any(flight.lost for flight in self._flights):
            return 0.0
        if self.queue and len(self._flights) < self._window_frames and self._has_credit():
            return 0.0
        if self._flights:
            return max(self._expiry_ms() - now_ms, 0.0)
        return None

    def _has_credit(self) -> bool:
        return self._flight_bytes + self._frame_bytes(self.queue[0]) <= self._credit

    def _frame_bytes(self, payload: bytes) -> int:
        return frame_bytes_max(len(payload) + self._seal_bytes)

    def _expiry_ms(self) -> float:
        return max(self._flights[0].sent_ms, self._progress_ms) + self.timer.rto_ms

    def _again(self, flight: Flight, now_ms: float) -> Flight:
        flight.lost = False
        flight.order = self._order
        flight.sent_ms = now_ms
        flight.transmissions += 1
        self._order += 1
        self.sent_again += 1
        return flight

    def _progress(self, arrived: list[Flight], now_ms: float) -> None:
        self._progress_ms = now_ms
        newest = -1
        latest: Flight | None = None
        for flight in arrived:
            flight.arrived = True
            flight.lost = False
            self._flight_bytes -= flight.frame_bytes
            if flight.transmissions == 1:
                order = flight.order
                if latest is None or order > latest.order:
                    latest = flight
            elif now_ms - flight.sent_ms < self.timer.shortest_ms:
                # Too soon to be the answer to its last transmission.
                order = flight.first_order
            else:
                order = flight.order
            newest = max(newest, order)
        if latest is not None:
            self.timer.sample(now_ms - latest.sent_ms)
        for flight in self._flights:
            if not flight.arrived and flight.order < newest:
                flight.lost = True


class ReceiveWindow:
    """Puts payloads in order, each once."""

    def __init__(self, window_bytes: int, window_frames: int, seal_bytes: int = 0) -> None:
        self.expected = 0
        self.duplicates = 0
        self.refused = 0
        self._window_bytes = window_bytes
        self._window_frames = window_frames
        self._seal_bytes = seal_bytes
        self._held: dict[int, bytes] = {}
        self._held_bytes = 0

    @property
    def credit(self) -> int:
        """Bytes of frames that still fit."""
        return self._window_bytes - self._held_bytes

    @property
    def sack(self) -> int:
        """Bit i: the frame i + 1 after the expected one is here."""
        bits = 0
        for seq in self._held:
            bits |= 1 << ((seq - self.expected - 1) % MODULUS)
        return bits

    def take(self, seq: int, payload: bytes) -> list[bytes]:
        """The payloads that this frame puts in order; none when it is a repeat, early or has no room."""
        ahead = (seq - self.expected) % MODULUS
        if ahead >= MODULUS // 2 or seq in self._held:
            self.duplicates += 1
            return []
        if ahead == 0:
            ready = [payload]
            self.expected = (seq + 1) % MODULUS
            while self._held and (held := self._held.pop(self.expected, None)) is not None:
                self._held_bytes -= self._frame_bytes(held)
                self.expected = (self.expected + 1) % MODULUS
                ready.append(held)
            return ready
        frame_bytes = self._frame_bytes(payload)
        if ahead >= self._window_frames or frame_bytes > self.credit:
            self.refused += 1
            return []
        self._held[seq] = payload
        self._held_bytes += frame_bytes
        return []

    def _frame_bytes(self, payload: bytes) -> int:
        return frame_bytes_max(len(payload) + self._seal_bytes)
