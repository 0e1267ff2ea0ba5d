"""A board in memory: the double that tests and benches use where no firmware is needed.

It speaks the whole wire with the board's end of the link. Behind it is no network but a layer of biases: each
recording has fixed activations, and training adds a bias to each of their elements, by plain SGD. It learns,
and its weights depend on every gradient that arrived, and on nothing else.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cutlayer_host import tensors
from cutlayer_host.board_messages import (
    NOTHING,
    Activation,
    Applied,
    Cleared,
    Configured,
    DataRead,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    RunStep,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.codes import NO_LABEL, ErrorCode, Flag, Kind, Mode
from cutlayer_host.errors import ProtocolError
from cutlayer_host.guard import BoardGuard
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
from cutlayer_host.link import Link, Received, Role
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import decode
from cutlayer_host.pump import Pump

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from cutlayer_host.body import Parameters
    from cutlayer_host.link import LinkEvent
    from cutlayer_host.transports import Transport

Floats: TypeAlias = "npt.NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class Kept:
    """A slot of the storage."""

    state: RunStep
    bias: Floats
    scale: float
    applied: Applied | None


class BoardDouble:
    """A board whose recordings are float32 [recordings, count] activations.

    Attributes:
        bias: float32 [count], what the board has learned.
        last_step: steps applied.
        run: the lineage of these steps.
        storage: its slots, newest first; None without a storage.
        power_cut: set it to lose power amid the next save.
        taken: the messages that came, by kind.
        seconds: time spent in here, for benches that want the host's alone.
    """

    def __init__(
        self,
        recordings: Floats,
        labels: Sequence[int] | None = None,
        *,
        model_id: bytes = bytes(32),
        scale: float = 0.05,
        zero_point: int = -128,
        trainable: bool = True,
        storage: bool = False,
        device_id: bytes = bytes(8),
        parameters: Parameters | None = None,
        rng: random.Random | None = None,
        guard: BoardGuard | None = None,
    ) -> None:
        """`zero_point` -128 makes a ReLU of the range's lower end; without `labels` the board knows none."""
        self.recordings = recordings.astype(np.float32)
        self.labels = labels
        self.model_id = model_id
        self.trainable = trainable
        self.device_id = device_id
        self.storage: list[Kept] | None = [] if storage else None
        self.saves = 0
        self.power_cut = False
        self.converted_scale = scale
        self.zero_point = zero_point
        self.link = Link(Role.BOARD, parameters, rng=rng, guard=guard)
        self._next_guard: list[BoardGuard | None] = []  # what the present connection ends for, if it has to
        self.taken: dict[Kind, int] = {}
        self.last_step = 0
        self.run = 0
        self.seconds = 0.0
        self._handlers: dict[type[Message], Callable[..., None]] = {
            Hello: self._hello,
            Configure: self._configure,
            Sample: self._capture,
            Gradient: self._gradient,
            Piece: self._piece,
            Apply: self._apply,
            Clear: self._clear,
            Rescale: self._rescale,
            Save: self._save,
            Restore: self._restore,
            Provision: self._provision,
            Forget: self._forget,
            Read: self._read,
            Stats: self._stats,
        }
        self._restart()
        self._drop_connection()

    def serve(self, transport: Transport) -> Pump[LinkEvent]:
        """Returns a pump that answers over `transport` once started; close it to end."""
        return Pump(transport, self, on_events=lambda _: None, on_end=lambda _: None)

    def receive(self, data: bytes, now_ms: float) -> list[LinkEvent]:
        """See Link.receive; messages are answered on the way."""
        began = time.perf_counter()
        link = self.link
        events = link.receive(data, now_ms)
        for event in events:
            if self.link is not link:
                break  # it has lost power
            if isinstance(event, Received):
                self._take(event.payload)
            else:
                self._drop_connection()
        if self._next_guard and self.link.idle:
            self._drop_connection()
            self.link = Link(Role.BOARD, self.link.parameters, guard=self._next_guard.pop())
        self.seconds += time.perf_counter() - began
        return events

    def transmit(self, now_ms: float, max_bytes: int | None = None) -> bytes:
        """See Link.transmit."""
        began = time.perf_counter()
        data = self.link.transmit(now_ms, max_bytes)
        self.seconds += time.perf_counter() - began
        return data

    def next_timeout_ms(self, now_ms: float) -> float | None:
        """See Link.next_timeout_ms."""
        return self.link.next_timeout_ms(now_ms)

    @property
    def weights_crc(self) -> int:
        """CRC-32 of the bias."""
        return zlib.crc32(self.bias.tobytes())

    def reset(self) -> None:
        """What a power cut leaves: the newest slot of the storage, or the converted weights."""
        self._restart()
        self.run = 0
        self.power_cut = False
        self._drop_connection()
        self.link = Link(Role.BOARD, self.link.parameters, guard=self.link.guard)
        if self.storage:
            self._take_back(self.storage[0])

    def _restart(self) -> None:
        self.bias: Floats = np.zeros(self.recordings.shape[1], np.float32)
        self.scale = self.converted_scale
        self.last_step = 0
        self._applied: Applied | None = None

    def _take_back(self, kept: Kept) -> None:
        self.run, self.last_step = kept.state
        self.bias, self.scale, self._applied = kept.bias.copy(), kept.scale, kept.applied

    def _drop_connection(self) -> None:
        self._greeted = False
        self._configuration: Configure | None = None
        self._drop_step()

    def _drop_step(self) -> None:
        self._accumulator = np.zeros(self.recordings.shape[1], np.int64)
        self._gradient_scale = 0.0
        self._samples = self._saturated = 0
        self._sample: int | None = None
        self._masked = np.zeros(0, np.bool_)
        self._filled: int | None = None

    def _take(self, payload: bytes) -> None:
        try:
            message = decode(payload)
            self.taken[message.KIND] = self.taken.get(message.KIND, 0) + 1
            self._check_state(message)
            self._handlers[type(message)](message)
        except ProtocolError as error:
            self._send(Error(about=error.about, code=error.code))

    def _check_state(self, message: Message) -> None:
        greeted = self._greeted or isinstance(message, Hello)
        free = isinstance(message, (Hello, Configure, Read, Restore, Stats, Provision, Forget))
        if not greeted or not (free or self._configuration) or type(message) not in self._handlers:
            raise _refusal(message, ErrorCode.STATE)

    def _send(self, message: Message) -> None:
        self.link.send(message.encode())

    def _hello(self, _: Hello) -> None:
        self._greeted = True
        self._send(
            Welcome(
                flags=Flag.TRAINABLE * self.trainable | Flag.STORAGE * (self.storage is not None),
                optimizers=0b01,
                codecs=0b111,
                model_id=self.model_id,
                board="double",
                last_step=self.last_step,
                recordings=len(self.recordings),
                smashed_count=self.recordings.shape[1],
                weight_count=self.recordings.shape[1],
                channel_count=1,
                output_scale=self.scale,
                output_zero_point=self.zero_point,
                run=self.run,
                saved=self._saved(),
                saves=self.saves,
                device_id=self.device_id,
            )
        )

    def _configure(self, message: Configure) -> None:
        if message.restart:
            self._restart()
        self._configuration = message
        self.run = message.run
        self._drop_step()
        self._send(Configured(last_step=self.last_step))

    def _capture(self, message: Sample) -> None:
        assert self._configuration is not None
        assert self.link.peer is not None
        if message.recording >= len(self.recordings):
            raise _refusal(message, ErrorCode.SENSOR)
        codec = self._configuration.activation_codec
        real = self.recordings[message.recording] + self.bias
        wide = np.rint(real / np.float32(self.scale)) + self.zero_point
        values = np.clip(wide, -128, 127).astype(np.int8)
        saturated = int(np.count_nonzero(wide > 127))
        label = NO_LABEL if self.labels is None else self.labels[message.recording]
        self._send(
            Activation(
                codec=codec,
                label=label,
                sample=message.sample,
                count=values.size,
                scale=self.scale,
                zero_point=self.zero_point,
                saturated=saturated,
                crc=zlib.crc32(values),
            )
        )
        for piece in tensors.activation_pieces(values, codec, self.zero_point, self.link.peer.max_payload):
            self._send(piece)
        if message.mode == Mode.TRAIN:
            self._sample = message.sample
            self._masked = tensors.masked(values, codec, -128, 127)
            self._saturated += saturated

    def _gradient(self, message: Gradient) -> None:
        if message.sample != self._sample:
            raise _refusal(message, ErrorCode.SAMPLE)
        self._gradient_scale = message.scale
        self._filled = 0

    def _piece(self, message: Piece) -> None:
        assert self._configuration is not None
        if self._filled is None or message.first != self._filled:
            raise _refusal(message, ErrorCode.STATE)
        end = message.first + message.count
        masked = self._masked[message.first : end]
        values = tensors.gradient_values(message.data, masked, self._configuration.gradient_codec)
        self._accumulator[message.first : end] += values
        self._filled = end
        if end == self._masked.size:
            self._filled = self._sample = None
            self._samples += 1

    def _apply(self, message: Apply) -> None:
        if message.step == self.last_step + 1:
            if message.samples != self._samples:
                raise _refusal(message, ErrorCode.SAMPLE)
            rate = np.float32(message.learning_rate) * np.float32(self._gradient_scale)
            self.bias -= rate * self._accumulator.astype(np.float32)
            self.last_step = message.step
            self._applied = Applied(
                step=message.step, weights_crc=self.weights_crc, saturated=self._saturated
            )
            self._drop_step()
        elif message.step != self.last_step or self._applied is None:
            raise _refusal(message, ErrorCode.STEP)
        self._send(self._applied)

    def _clear(self, _: Clear) -> None:
        self._drop_step()
        self._send(Cleared(last_step=self.last_step))

    def _rescale(self, message: Rescale) -> None:
        self.scale = message.scale
        self.zero_point = message.zero_point
        self._send(Rescaled(zero_point=self.zero_point, scale=self.scale, last_step=self.last_step))

    def _saved(self) -> tuple[RunStep, RunStep]:
        newest, older, *_ = *(kept.state for kept in self.storage or ()), NOTHING, NOTHING
        return newest, older

    def _save(self, message: Save) -> None:
        if message.step != self.last_step:
            raise _refusal(message, ErrorCode.STEP)
        if self.storage is None:
            raise _refusal(message, ErrorCode.STORAGE)
        state = RunStep(self.run, self.last_step)
        if not self.storage or self.storage[0].state != state:
            if self.power_cut:  # amid the write: the older slot is gone, and so is the board
                del self.storage[1:]
                self.reset()
                return
            self.storage.insert(0, Kept(state, self.bias.copy(), self.scale, self._applied))
            del self.storage[2:]
            self.saves += 1
        self._send(Saved(step=message.step, saves=self.saves, bytes=self.bias.nbytes))

    def _restore(self, message: Restore) -> None:
        wanted = RunStep(message.run, message.step)
        for kept in self.storage or ():
            if kept.state == wanted:
                self._take_back(kept)
                self._drop_step()
                self._configuration = None
                self._send(Restored(run=self.run, step=self.last_step, weights_crc=self.weights_crc))
                return
        raise _refusal(message, ErrorCode.VALUE)

    def _provision(self, message: Provision) -> None:
        if not any(message.device_id):
            raise _refusal(message, ErrorCode.VALUE)
        self.device_id = message.device_id
        self._next_guard = [BoardGuard(message.device_id, message.key)]
        self._send(Provisioned(device_id=message.device_id))

    def _forget(self, _: Forget) -> None:
        self.device_id = bytes(8)
        self._next_guard = [None]
        self._send(Forgotten())

    def _read(self, message: Read) -> None:
        section = self.bias.tobytes()
        data = section[message.offset : message.offset + message.count]
        self._send(
            DataRead(
                section=message.section,
                count=len(data),
                offset=message.offset,
                total=len(section),
                data=data,
            )
        )

    def _stats(self, _: Stats) -> None:
        self._send(StatsAre.of([self.link.decoder.counters.frames, self.link.decoder.counters.malformed]))


def _refusal(message: Message, code: ErrorCode) -> ProtocolError:
    return ProtocolError(f"{message.KIND.name}: {code.name}", code=code, about=message.KIND)
