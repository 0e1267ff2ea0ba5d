"""The other side's silence: how long it has lasted, and when to ask into it (SPEC.md, section 2)."""

from __future__ import annotations

ASK_INTERVAL_MS = 1000.0


class Silence:
    """Of one connection. It lasts only while the other side is waited for."""

    def __init__(self, now_ms: float) -> None:
        self._heard_ms = now_ms
        self._asked_ms = now_ms
        self._waiting_since_ms: float | None = None

    def broken(self, now_ms: float) -> None:
        """The other side was heard."""
        self._heard_ms = now_ms

    def asked(self, now_ms: float) -> None:
        """PING was sent."""
        self._asked_ms = now_ms

    def watch(self, waiting: bool, now_ms: float) -> None:
        """Whether anything is expected of the other side from now on."""
        if not waiting:
            self._waiting_since_ms = None
        elif self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms

    def lasted_ms(self, now_ms: float) -> float:
        """How long the other side has been waited for in vain."""
        if self._waiting_since_ms is None:
            return 0.0
        return now_ms - max(self._waiting_since_ms, self._heard_ms)

    def ask_due_ms(self, interval_ms: float = ASK_INTERVAL_MS) -> float:
        """When to ask again, unless the other side is heard before."""
        return max(self._asked_ms, self._heard_ms) + interval_ms
