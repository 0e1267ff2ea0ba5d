"""The session's state machine, host's end: what may be asked of a board when (SPEC.md, section 3.2)."""

from __future__ import annotations

import enum

from cutlayer_host.codes import Kind


class SessionState(enum.Enum):
    """The board's state once it has taken everything that was sent (SPEC.md, section 3.2)."""

    CLOSED = "closed"
    CONNECTED = "connected"
    GREETED = "greeted"
    READY = "ready"
    AWAITING = "awaiting"


class Request(enum.Enum):
    """What the host may ask. SAMPLE counts as two: they lead to different states."""

    HELLO = Kind.HELLO, Kind.WELCOME
    CONFIGURE = Kind.CONFIGURE, Kind.CONFIGURED
    TRAIN = Kind.SAMPLE, Kind.ACTIVATION, "train"
    INFER = Kind.SAMPLE, Kind.ACTIVATION, "infer"
    GRADIENT = Kind.GRADIENT, None
    APPLY = Kind.APPLY, Kind.APPLIED
    CLEAR = Kind.CLEAR, Kind.CLEARED
    RESCALE = Kind.RESCALE, Kind.RESCALED
    SAVE = Kind.SAVE, Kind.SAVED
    RESTORE = Kind.RESTORE, Kind.RESTORED
    PROVISION = Kind.PROVISION, Kind.PROVISIONED
    FORGET = Kind.FORGET, Kind.FORGOTTEN
    READ = Kind.READ, Kind.DATA_READ
    STATS = Kind.STATS, Kind.STATS_ARE

    @property
    def kind(self) -> Kind:
        """The message that asks."""
        kind: Kind = self.value[0]
        return kind

    @property
    def answer(self) -> Kind | None:
        """The message that answers."""
        answer: Kind | None = self.value[1]
        return answer


# The whole state machine: in a state, a request leads to a state. What is not here may not be sent.
TABLE: dict[SessionState, dict[Request, SessionState]] = {
    SessionState.CLOSED: {},
    SessionState.CONNECTED: {
        Request.HELLO: SessionState.GREETED,
    },
    SessionState.GREETED: {
        Request.HELLO: SessionState.GREETED,
        Request.CONFIGURE: SessionState.READY,
        Request.RESTORE: SessionState.GREETED,
        Request.PROVISION: SessionState.GREETED,
        Request.FORGET: SessionState.GREETED,
        Request.READ: SessionState.GREETED,
        Request.STATS: SessionState.GREETED,
    },
    SessionState.READY: {
        Request.HELLO: SessionState.READY,
        Request.CONFIGURE: SessionState.READY,
        Request.TRAIN: SessionState.AWAITING,
        Request.INFER: SessionState.READY,
        Request.APPLY: SessionState.READY,
        Request.CLEAR: SessionState.READY,
        Request.RESCALE: SessionState.READY,
        Request.SAVE: SessionState.READY,
        Request.RESTORE: SessionState.GREETED,
        Request.PROVISION: SessionState.READY,
        Request.FORGET: SessionState.READY,
        Request.READ: SessionState.READY,
        Request.STATS: SessionState.READY,
    },
    SessionState.AWAITING: {
        Request.HELLO: SessionState.AWAITING,
        Request.CONFIGURE: SessionState.READY,
        Request.TRAIN: SessionState.AWAITING,
        Request.INFER: SessionState.READY,
        Request.GRADIENT: SessionState.READY,
        Request.CLEAR: SessionState.READY,
        Request.RESTORE: SessionState.GREETED,
        Request.READ: SessionState.AWAITING,
        Request.STATS: SessionState.AWAITING,
    },
}
