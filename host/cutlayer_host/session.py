"""The session, host's end: messages to steps (SPEC.md, section 3). No I/O, no clock.

    session = HostSession()
    session.connect(now_ms)                        then turn the crank of cutlayer_host.link:
    events = session.receive(data, now_ms)
    pipe.write(session.transmit(now_ms))

A connection greets by itself: the first event is Welcome. Requests may be queued one behind the other without
waiting for answers; each answer is an event, in the order of the requests. GRADIENT has no answer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cutlayer_host import tensors
from cutlayer_host.board_messages import (
    Activation,
    Applied,
    Cleared,
    Configured,
    DataRead,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.codes import LIVE_RECORDING, ErrorCode, Kind, Mode
from cutlayer_host.errors import ProtocolError
from cutlayer_host.guard import HostGuard
from cutlayer_host.host_messages import (
    Apply,
    Clear,
    Configure,
    Forget,
    Gradient,
    Hello,
    Provision,
    Read,
    Rescale,
    Restore,
    Sample,
    Save,
    Stats,
)
from cutlayer_host.link import DEAD_MS, Connected, Link, Lost, Received, Role
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import decode
from cutlayer_host.session_state import TABLE, Request, SessionState
from cutlayer_host.smashed_data import Assembly, SmashedData

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

    from cutlayer_host.body import Parameters
    from cutlayer_host.guard import KeyFinder


@dataclass(frozen=True, slots=True)
class Refused:
    """The board answered with ERROR. `sample` and `step` stay as they were; CLEAR makes a clean start."""

    about: int
    code: int
    detail: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """The board sent what it may not. It has been told; nothing more comes until the next `connect`."""

    error: ProtocolError


SessionEvent: TypeAlias = (
    Welcome
    | Configured
    | SmashedData
    | Applied
    | Cleared
    | Rescaled
    | Saved
    | Restored
    | Provisioned
    | Forgotten
    | DataRead
    | StatsAre
    | Refused
    | Malformed
    | Lost
)


class HostSession:
    """One board, as the host sees it.

    Requests raise ProtocolError(STATE) when the board's state does not take them, and LinkLost when there is
    no connection. With `heartbeat`, a board is missed too that falls silent while nothing is asked of it.
    `key` finds the key of a device by its id: connections are sealed with it; without `key` they are plain.
    Attributes: `link`, `welcome` (of this connection), `configuration` (the last one sent).
    """

    def __init__(
        self,
        parameters: Parameters | None = None,
        *,
        dead_ms: float = DEAD_MS,
        heartbeat: bool = False,
        rng: random.Random | None = None,
        key: KeyFinder | None = None,
    ) -> None:
        guard = None if key is None else HostGuard(key)
        self.link = Link(Role.HOST, parameters, dead_ms=dead_ms, rng=rng, guard=guard)
        self._heartbeat = heartbeat
        self.welcome: Welcome | None = None
        self.configuration: Configure | None = None
        self._failed = False
        self._reset()

    @property
    def state(self) -> SessionState:
        """The board's state once it has taken everything that was sent, if it refuses nothing."""
        state = self._settled
        for request in self._pending:
            state = TABLE[state].get(request, state)
        return state

    @property
    def _listening(self) -> bool:
        """Whether a board that falls silent is to be missed."""
        return self.waiting or (self._heartbeat and self._settled is not SessionState.CLOSED)

    @property
    def waiting(self) -> bool:
        """Whether an answer is owed."""
        return any(request.answer is not None for request in self._pending)

    def connect(self, now_ms: float) -> None:
        """Starts a new connection. Welcome, Lost or Malformed follows."""
        self._reset()
        self.welcome = None
        self.configuration = None
        self.link.connect(now_ms)

    def receive(self, data: bytes, now_ms: float) -> list[SessionEvent]:
        """Takes bytes as they come, b"" when only time has passed. Never raises for anything in `data`."""
        events: list[SessionEvent] = []
        for event in self.link.receive(data, now_ms):
            if isinstance(event, Received):
                if not self._failed:
                    self._take(event.payload, events)
            elif isinstance(event, Connected):
                self._reset()
                self._settled = SessionState.CONNECTED
                self._request(Request.HELLO, Hello())
            else:
                self._reset()
                events.append(event)
        self.link.expecting = self._listening
        return events

    def transmit(self, now_ms: float, max_bytes: int | None = None) -> bytes:
        """What to write to the pipe now; see Link.transmit."""
        return self.link.transmit(now_ms, max_bytes)

    def next_timeout_ms(self, now_ms: float) -> float | None:
        """The ms after which to call `receive` and `transmit` at the latest; None: when there is news."""
        return self.link.next_timeout_ms(now_ms)

    def configure(self, configuration: Configure) -> None:
        """Cut, codecs, optimizer. Answered by Configured."""
        self._request(Request.CONFIGURE, configuration)
        self.configuration = configuration

    def sample(self, sample: int, recording: int = LIVE_RECORDING, *, train: bool) -> None:
        """Captures `recording` and runs the head. Answered by SmashedData."""
        mode = Mode.TRAIN if train else Mode.INFER
        request = Request.TRAIN if train else Request.INFER
        self._request(request, Sample(mode=mode, sample=sample, recording=recording))
        self._samples.append(sample)

    def gradient(self, smashed: SmashedData, values: NDArray[np.int8], scale: float) -> None:
        """Sends dL/dy = scale * values, int8 [count], for the sample that the board keeps. No answer.

        Values where `smashed.masked` are not sent. Raises ValueError for another count, or for a value that
        the gradient codec lacks (tensors.GRADIENT_LIMITS).
        """
        if self.configuration is None or self.link.peer is None or self.state is not SessionState.AWAITING:
            raise self._untimely(Request.GRADIENT)
        values = np.ascontiguousarray(values, np.int8).reshape(-1)
        if values.size != smashed.values.size:
            raise ValueError(
                f"the gradient has {values.size} elements, the smashed data {smashed.values.size}"
            )
        codec = self.configuration.gradient_codec
        head = Gradient(codec=codec, sample=smashed.sample, count=values.size, scale=scale)
        pieces = list(tensors.gradient_pieces(values, smashed.masked, codec, self.link.peer.max_payload))
        self._request(Request.GRADIENT, head)
        for piece in pieces:
            self.link.send(piece.encode())

    def apply(self, step: int, samples: int, learning_rate: float) -> None:
        """Ends the step that `samples` gradients make up. Answered by Applied."""
        self._request(Request.APPLY, Apply(step=step, samples=samples, learning_rate=learning_rate))

    def clear(self) -> None:
        """Drops the board's pending sample and half step. Answered by Cleared."""
        self._request(Request.CLEAR, Clear())

    def rescale(self, scale: float, zero_point: int) -> None:
        """Gives the smashed data a new scale, between steps. Answered by Rescaled."""
        self._request(Request.RESCALE, Rescale(scale=scale, zero_point=zero_point))

    def save(self, step: int) -> None:
        """Has the board keep the state of its last step, which is `step`. Answered by Saved."""
        self._request(Request.SAVE, Save(step=step))

    def restore(self, run: int, step: int) -> None:
        """Has the board take back a state it keeps; it must be configured then. Answered by Restored."""
        self._request(Request.RESTORE, Restore(run=run, step=step))

    def provision(self, device_id: bytes, key: bytes) -> None:
        """Gives the board its name and its key. Answered by Provisioned."""
        self._request(Request.PROVISION, Provision(device_id=device_id, key=key))

    def forget(self) -> None:
        """Has the board drop its key. Answered by Forgotten."""
        self._request(Request.FORGET, Forget())

    def read(self, section: int, offset: int, count: int | None = None) -> None:
        """Reads `count` bytes of a section, by default as many as an answer holds. Answered by DataRead."""
        most = self.link.parameters.max_payload - DataRead.LAYOUT.size
        self._request(
            Request.READ, Read(section=section, count=most if count is None else count, offset=offset)
        )

    def stats(self) -> None:
        """Asks for the board's counters. Answered by StatsAre."""
        self._request(Request.STATS, Stats())

    def _reset(self) -> None:
        self._settled = SessionState.CLOSED
        self._pending: deque[Request] = deque()
        self._samples: deque[int] = deque()
        self._incoming: Assembly | None = None
        self._failed = False
        self.link.expecting = False

    def _request(self, request: Request, message: Message) -> None:
        if request not in TABLE[self.state]:
            raise self._untimely(request)
        self.link.send(message.encode())
        self._pending.append(request)
        self.link.expecting = self._listening

    def _untimely(self, request: Request) -> ProtocolError:
        return ProtocolError(
            f"{request.kind.name} cannot be sent in state {self.state.name}",
            code=ErrorCode.STATE,
            about=request.kind,
        )

    def _take(self, payload: bytes, events: list[SessionEvent]) -> None:
        """One message of the board."""
        try:
            message = decode(payload)
            if isinstance(message, Piece):
                self._take_piece(message, events)
            elif isinstance(message, Error):
                self._take_error(message, events)
            else:
                self._take_answer(message, events)
        except ProtocolError as error:
            self._failed = True
            self.link.send(Error(about=error.about, code=error.code).encode())
            events.append(Malformed(error))

    def _take_answer(self, message: Message, events: list[SessionEvent]) -> None:
        self._settle_gradients()
        if self._incoming is not None or not self._pending or self._pending[0].answer != message.KIND:
            raise ProtocolError(
                f"{message.KIND.name} answers nothing", code=ErrorCode.STATE, about=message.KIND
            )
        if isinstance(message, Activation):
            self._take_activation(message)
            return
        self._settle()
        if isinstance(message, Welcome):
            self._check_name(message)
            self.welcome = message
        events.append(message)  # type: ignore[arg-type]  # TABLE's answers are events

    def _take_activation(self, head: Activation) -> None:
        codec = self.configuration.activation_codec if self.configuration else None
        for name, given, due in (("sample", head.sample, self._samples[0]), ("codec", head.codec, codec)):
            if given != due:
                raise ProtocolError(
                    f"ACTIVATION.{name} is {given}, must be {due}", code=ErrorCode.VALUE, about=head.KIND
                )
        if self.configuration and self.welcome and self.configuration.cut == self.welcome.cut_count - 1:
            self._check_count(head, self.welcome.smashed_count)
        self._incoming = Assembly(head)

    def _check_count(self, head: Activation, due: int) -> None:
        if head.count != due:
            raise ProtocolError(
                f"ACTIVATION.count is {head.count}, WELCOME.smashed_count was {due}",
                code=ErrorCode.VALUE,
                about=head.KIND,
            )

    def _check_name(self, welcome: Welcome) -> None:
        """A board that has proved one key may not pass for another board."""
        guard = self.link.guard
        if isinstance(guard, HostGuard) and welcome.device_id != guard.device_id:
            raise ProtocolError(
                f"WELCOME.device_id is {welcome.device_id.hex()}, the connection's key is that of "
                f"{guard.device_id.hex()}",
                code=ErrorCode.VALUE,
                about=welcome.KIND,
            )

    def _take_piece(self, piece: Piece, events: list[SessionEvent]) -> None:
        if self._incoming is None:
            raise ProtocolError("PIECE follows no ACTIVATION", code=ErrorCode.STATE, about=piece.KIND)
        smashed = self._incoming.take(piece)
        if smashed is not None:
            self._incoming = None
            self._samples.popleft()
            self._settle()
            events.append(smashed)

    def _take_error(self, error: Error, events: list[SessionEvent]) -> None:
        """The state stays as it was, but for a sample that failed and a gradient half added."""
        if self._incoming is not None:
            raise ProtocolError("ERROR amid PIECEs", code=ErrorCode.STATE, about=error.KIND)
        if error.about in (Kind.GRADIENT, Kind.PIECE):
            if Request.GRADIENT not in self._pending:
                # The rest of a gradient that has been refused already.
                return
            self._pending.remove(Request.GRADIENT)
            if error.about == Kind.PIECE:
                self._settled = SessionState.READY
        else:
            self._settle_gradients()
            if self._pending and self._pending[0].kind == error.about:
                self._pending.popleft()
                if error.about == Kind.SAMPLE:
                    self._samples.popleft()
                    if error.code not in (ErrorCode.STATE, ErrorCode.LENGTH, ErrorCode.VALUE):
                        self._settled = SessionState.READY
        events.append(Refused(error.about, error.code, error.detail))

    def _settle_gradients(self) -> None:
        """What comes answers a later request: the gradients before it have been taken."""
        while self._pending and self._pending[0] is Request.GRADIENT:
            self._settle()

    def _settle(self) -> None:
        request = self._pending.popleft()
        self._settled = TABLE[self._settled].get(request, self._settled)
