"""Messages of the session: one frozen dataclass a kind, to and from bytes (SPEC.md, section 3.1).

Fields stand in the order of the wire. Making and decoding a message check everything that needs no state:
kind, length, ranges, finite floats. What is refused is named in a ProtocolError, with the code and the kind
that an ERROR message wants.
"""

from __future__ import annotations

import enum
import math
import struct
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from cutlayer_host.codes import ErrorCode, Kind, kind_name
from cutlayer_host.errors import ProtocolError
from cutlayer_host.wire import WIRE_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

LIVE_RECORDING = 0xFFFFFFFF
NO_LABEL = -1
NO_STEP = 0xFFFFFFFF
DEVICE_ID_BYTES = 8
KEY_BYTES = 32

# A board has less than 512 KB of RAM: what claims to be larger is not smashed data.
COUNT_MAX = 1 << 20
WEIGHT_COUNT_MAX = 1 << 24

_F32_LEAST = 2.0**-149  # what is smaller becomes 0 on the wire

ACTIVATION_CODECS = (0, 1, 2, 16, 17, 18)
GRADIENT_CODECS = (0, 1, 2)


class Optimizer(enum.IntEnum):
    """CONFIGURE.optimizer."""

    SGD = 0
    ADAM = 1


class Mode(enum.IntEnum):
    """SAMPLE.mode."""

    INFER = 0
    TRAIN = 1


class Section(enum.IntEnum):
    """READ.section."""

    WEIGHTS = 0
    BIAS = 1
    WEIGHT_SCALES = 2
    MASTER = 3
    MOMENT1 = 4
    MOMENT2 = 5


class Flag(enum.IntFlag):
    """WELCOME.flags."""

    TRAINABLE = 1
    LIVE_SENSOR = 2
    CONFIGURED = 4
    STORAGE = 8


class RunStep(NamedTuple):
    """A state of the trainable layer: the lineage that CONFIGURE named, and the steps applied."""

    run: int
    step: int


NOTHING = RunStep(0, NO_STEP)
"""What a slot of the board's storage holds when it holds nothing."""


def _names(message: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(message))


class Message:
    """A message of fixed length whose fields LAYOUT packs after the kind."""

    __slots__ = ()
    KIND: ClassVar[Kind]
    LAYOUT: ClassVar[struct.Struct]

    def encode(self) -> bytes:
        """To bytes. Raises ProtocolError(VALUE) for a field outside its range."""
        try:
            return self.LAYOUT.pack(self.KIND, *self._pack())
        except (struct.error, OverflowError) as error:
            raise ProtocolError(f"{self}: {error}", code=ErrorCode.VALUE, about=self.KIND) from error

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """From bytes. Raises ProtocolError(LENGTH or VALUE)."""
        if len(payload) != cls.LAYOUT.size:
            raise _length(cls.KIND, len(payload), f"exactly {cls.LAYOUT.size}")
        return cls._unpack(cls.LAYOUT.unpack(payload)[1:])

    def _pack(self) -> Iterable[Any]:
        return [getattr(self, name) for name in _names(type(self))]

    @classmethod
    def _unpack(cls, values: tuple[Any, ...]) -> Self:
        return cls(**dict(zip(_names(cls), values, strict=True)))

    def _require(self, name: str, allowed: str, holds: bool) -> None:
        if not holds:
            raise ProtocolError(
                f"{self.KIND.name}.{name} is {getattr(self, name)!r}, must be {allowed}",
                code=ErrorCode.VALUE,
                about=self.KIND,
            )

    def _require_bytes(self, name: str, count: int) -> None:
        """The value is not told: it may be a key."""
        if len(getattr(self, name)) != count:
            raise ProtocolError(
                f"{self.KIND.name}.{name} has {len(getattr(self, name))} bytes, must have {count}",
                code=ErrorCode.VALUE,
                about=self.KIND,
            )

    def _require_positive(self, name: str) -> None:
        value = getattr(self, name)
        self._require(name, "finite and above 0", math.isfinite(value) and value >= _F32_LEAST)


def _length(kind: Kind, length: int, allowed: str) -> ProtocolError:
    return ProtocolError(
        f"{kind.name} has {length} bytes, must have {allowed}", code=ErrorCode.LENGTH, about=kind
    )


class _WithTail(Message):
    """A message with bytes after what LAYOUT says, as its last field, `data`."""

    __slots__ = ()
    data: bytes

    def encode(self) -> bytes:
        try:
            return self.LAYOUT.pack(self.KIND, *self._pack()) + self.data
        except (struct.error, OverflowError) as error:
            raise ProtocolError(f"{self}: {error}", code=ErrorCode.VALUE, about=self.KIND) from error

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        if len(payload) < cls.LAYOUT.size:
            raise _length(cls.KIND, len(payload), f"{cls.LAYOUT.size} or more")
        return cls._unpack((*cls.LAYOUT.unpack_from(payload)[1:], payload[cls.LAYOUT.size :]))

    def _pack(self) -> Iterable[Any]:
        return [getattr(self, name) for name in _names(type(self))[:-1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Message):
    """HELLO: the first message of a connection."""

    wire_version: int = WIRE_VERSION
    KIND: ClassVar = Kind.HELLO
    LAYOUT: ClassVar = struct.Struct("<BB2x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome(Message):
    """WELCOME: what a board is and has. Answers HELLO."""

    wire_version: int = WIRE_VERSION
    firmware_version: tuple[int, int, int] = (0, 0, 0)
    flags: int = 0
    optimizers: int = 0
    codecs: int = 0
    model_id: bytes = bytes(32)
    board: str = ""
    last_step: int = 0
    recordings: int = 0
    smashed_count: int
    weight_count: int = 0
    channel_count: int = 0
    output_scale: float
    output_zero_point: int
    arena_bytes: int = 0
    train_bytes: int = 0
    cut_count: int = 1
    run: int = 0
    saved: tuple[RunStep, RunStep] = (NOTHING, NOTHING)
    saves: int = 0
    device_id: bytes = bytes(DEVICE_ID_BYTES)
    KIND: ClassVar = Kind.WELCOME
    LAYOUT: ClassVar = struct.Struct("<BB3BBBB32s16sIIIIIfb3xIIH2xI4II8s")

    def __post_init__(self) -> None:
        self._require("model_id", "32 bytes", len(self.model_id) == 32)
        self._require(
            "board",
            "16 characters of printable ASCII at most",
            len(self.board) <= 16 and self.board.isascii() and (self.board == "" or self.board.isprintable()),
        )
        self._require("recordings", f"{COUNT_MAX} at most", self.recordings <= COUNT_MAX)
        self._require("smashed_count", f"1 to {COUNT_MAX}", 1 <= self.smashed_count <= COUNT_MAX)
        self._require("weight_count", f"{WEIGHT_COUNT_MAX} at most", self.weight_count <= WEIGHT_COUNT_MAX)
        self._require("channel_count", f"{0xFFFF} at most", self.channel_count <= 0xFFFF)
        self._require_positive("output_scale")
        self._require("cut_count", "1 or more", self.cut_count >= 1)
        self._require("saved", "two", len(self.saved) == 2)
        self._require_bytes("device_id", DEVICE_ID_BYTES)

    @property
    def held(self) -> tuple[RunStep, ...]:
        """The states that the board's storage holds, newest first."""
        return tuple(state for state in self.saved if state.step != NO_STEP)

    def _pack(self) -> Iterable[Any]:
        values = {name: getattr(self, name) for name in _names(type(self))}
        values["board"] = self.board.encode("ascii")
        newest, older = values.pop("saved")
        tail = [*newest, *older, values.pop("saves"), values.pop("device_id")]
        return [values.pop("wire_version"), *values.pop("firmware_version"), *values.values(), *tail]

    @classmethod
    def _unpack(cls, values: tuple[Any, ...]) -> Self:
        version, major, minor, patch, flags, optimizers, codecs, model_id, board, *rest = values
        # Latin-1 takes any byte: __post_init__ refuses what is not ASCII, and names it.
        name = board.rstrip(b"\0").decode("latin-1")
        head = (version, (major, minor, patch), flags, optimizers, codecs, model_id, name)
        *rest, newest_run, newest_step, run, step, saves, device_id = rest
        saved = (RunStep(newest_run, newest_step), RunStep(run, step))
        # No super(): a slotted dataclass is another class than the one written here.
        return cls(**dict(zip(_names(cls), (*head, *rest, saved, saves, device_id), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure(Message):
    """CONFIGURE: cut, codecs, optimizer and the lineage of the steps. `momentum` is Adam's beta 1 too."""

    restart: bool = False
    cut: int = 0
    activation_codec: int = 0
    gradient_codec: int = 0
    optimizer: int = Optimizer.SGD
    momentum: float = 0.0
    beta2: float = 0.0
    epsilon: float = 0.0
    run: int = 0
    KIND: ClassVar = Kind.CONFIGURE
    LAYOUT: ClassVar = struct.Struct("<BBHBBBxfffI")

    def __post_init__(self) -> None:
        self._require("restart", "0 or 1", self.restart in (0, 1))
        self._require(
            "activation_codec", f"one of {ACTIVATION_CODECS}", self.activation_codec in ACTIVATION_CODECS
        )
        self._require("gradient_codec", f"one of {GRADIENT_CODECS}", self.gradient_codec in GRADIENT_CODECS)
        self._require("optimizer", "0 (SGD) or 1 (Adam)", self.optimizer in tuple(Optimizer))
        self._require("momentum", "0 or more and below 1", 0 <= self.momentum < 1)
        self._require("beta2", "0 or more and below 1", 0 <= self.beta2 < 1)
        self._require("epsilon", "finite and 0 or more", math.isfinite(self.epsilon) and self.epsilon >= 0)
        self._require("epsilon", "above 0 for Adam", self.epsilon > 0 or self.optimizer != Optimizer.ADAM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured(Message):
    """CONFIGURED: answers CONFIGURE."""

    last_step: int
    KIND: ClassVar = Kind.CONFIGURED
    LAYOUT: ClassVar = struct.Struct("<B3xI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Message):
    """SAMPLE: capture a recording and run the head."""

    mode: int = Mode.TRAIN
    sample: int
    recording: int = LIVE_RECORDING
    KIND: ClassVar = Kind.SAMPLE
    LAYOUT: ClassVar = struct.Struct("<BB2xII")

    def __post_init__(self) -> None:
        self._require("mode", "0 (infer) or 1 (train)", self.mode in tuple(Mode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation(Message):
    """ACTIVATION: heads the PIECEs of a sample's smashed data."""

    codec: int = 0
    label: int = NO_LABEL
    sample: int
    count: int
    scale: float
    zero_point: int
    activation_min: int = -128
    activation_max: int = 127
    saturated: int = 0
    crc: int
    KIND: ClassVar = Kind.ACTIVATION
    LAYOUT: ClassVar = struct.Struct("<BBhIIfbbbxII")

    def __post_init__(self) -> None:
        self._require("codec", f"one of {ACTIVATION_CODECS}", self.codec in ACTIVATION_CODECS)
        self._require("label", "-1 or more", self.label >= NO_LABEL)
        self._require("count", f"1 to {COUNT_MAX}", 1 <= self.count <= COUNT_MAX)
        self._require_positive("scale")
        self._require("activation_min", "activation_max at most", self.activation_min <= self.activation_max)
        self._require("saturated", "count at most", self.saturated <= self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece(_WithTail):
    """PIECE: elements `first` to `first + count - 1` of a tensor; `data` as section 3.3 says."""

    count: int
    first: int
    data: bytes = field(repr=False)
    KIND: ClassVar = Kind.PIECE
    LAYOUT: ClassVar = struct.Struct("<BxHI")

    def __post_init__(self) -> None:
        self._require("count", "1 or more", self.count >= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient(Message):
    """GRADIENT: heads the PIECEs of dL/dy = scale * g."""

    codec: int = 0
    sample: int
    count: int
    scale: float
    KIND: ClassVar = Kind.GRADIENT
    LAYOUT: ClassVar = struct.Struct("<BB2xIIf")

    def __post_init__(self) -> None:
        self._require("codec", f"one of {GRADIENT_CODECS}", self.codec in GRADIENT_CODECS)
        self._require("count", f"1 to {COUNT_MAX}", 1 <= self.count <= COUNT_MAX)
        self._require_positive("scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply(Message):
    """APPLY: ends the step that `samples` gradients make up."""

    samples: int
    step: int
    learning_rate: float
    KIND: ClassVar = Kind.APPLY
    LAYOUT: ClassVar = struct.Struct("<BxHIf")

    def __post_init__(self) -> None:
        self._require("samples", "1 or more", self.samples >= 1)
        self._require_positive("learning_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Message):
    """APPLIED: answers APPLY. `weights_crc` is the CRC-32 of the float32 master weights, then bias."""

    step: int
    weights_crc: int
    saturated: int = 0
    KIND: ClassVar = Kind.APPLIED
    LAYOUT: ClassVar = struct.Struct("<B3xIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear(Message):
    """CLEAR: drops the pending sample and the half step."""

    KIND: ClassVar = Kind.CLEAR
    LAYOUT: ClassVar = struct.Struct("<B3x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared(Message):
    """CLEARED: answers CLEAR."""

    last_step: int
    KIND: ClassVar = Kind.CLEARED
    LAYOUT: ClassVar = struct.Struct("<B3xI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale(Message):
    """RESCALE: a new scale of the smashed data."""

    zero_point: int
    scale: float
    KIND: ClassVar = Kind.RESCALE
    LAYOUT: ClassVar = struct.Struct("<Bb2xf4x")

    def __post_init__(self) -> None:
        self._require_positive("scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaled(Message):
    """RESCALED: answers RESCALE."""

    zero_point: int
    scale: float
    last_step: int
    KIND: ClassVar = Kind.RESCALED
    LAYOUT: ClassVar = struct.Struct("<Bb2xfI")

    def __post_init__(self) -> None:
        self._require_positive("scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Message):
    """READ: up to `count` bytes of a section of the trainable layer."""

    section: int
    count: int
    offset: int
    KIND: ClassVar = Kind.READ
    LAYOUT: ClassVar = struct.Struct("<BBHI4x")

    def __post_init__(self) -> None:
        self._require("section", "0 to 5", self.section in tuple(Section))
        self._require("count", "1 or more", self.count >= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRead(_WithTail):
    """DATA_READ: answers READ. `total` is the bytes of the whole section."""

    section: int
    count: int
    offset: int
    total: int
    data: bytes = field(repr=False)
    KIND: ClassVar = Kind.DATA_READ
    LAYOUT: ClassVar = struct.Struct("<BBHII")

    def __post_init__(self) -> None:
        if len(self.data) != self.count:
            raise _length(self.KIND, self.LAYOUT.size + len(self.data), f"{self.count} after its header")
        self._require("section", "0 to 5", self.section in tuple(Section))
        self._require("count", "inside the section", self.offset + self.count <= self.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Message):
    """STATS: asks for the board's counters."""

    KIND: ClassVar = Kind.STATS
    LAYOUT: ClassVar = struct.Struct("<B3x")


# Section 3.4, in order.
COUNTERS = (
    "frames_received",
    "frames_malformed",
    "frames_sent_again",
    "bytes_received",
    "bytes_sent",
    "sensor_ticks",
    "head_ticks",
    "accumulate_ticks",
    "apply_ticks",
    "stack_bytes",
    "memory_bytes",
    "samples_captured",
    "gradients_added",
    "steps_applied",
    "messages_refused",
    "saves",
    "storage_bytes",
    "save_ticks",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsAre(_WithTail):
    """STATS_ARE: the board's counters as `n` u32."""

    n: int
    data: bytes = field(repr=False)
    KIND: ClassVar = Kind.STATS_ARE
    LAYOUT: ClassVar = struct.Struct("<BxH")

    @classmethod
    def of(cls, counters: Iterable[int]) -> Self:
        """From counters in the order of COUNTERS."""
        data = b"".join(value.to_bytes(4, "little") for value in counters)
        return cls(n=len(data) // 4, data=data)

    def named(self) -> dict[str, int]:
        """The counters that this host knows; a newer board may have sent more."""
        return dict(zip(COUNTERS, struct.unpack(f"<{self.n}I", self.data), strict=False))

    def __post_init__(self) -> None:
        if len(self.data) != 4 * self.n:
            raise _length(self.KIND, self.LAYOUT.size + len(self.data), f"{4 * self.n} after its header")


@dataclass(frozen=True, slots=True, kw_only=True)
class Save(Message):
    """SAVE: keep the state of the last step in the board's storage."""

    step: int
    KIND: ClassVar = Kind.SAVE
    LAYOUT: ClassVar = struct.Struct("<B3xI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved(Message):
    """SAVED: answers SAVE. `saves` since the storage was new; `bytes` written for this one."""

    step: int
    saves: int
    bytes: int
    KIND: ClassVar = Kind.SAVED
    LAYOUT: ClassVar = struct.Struct("<B3xIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Message):
    """RESTORE: take a state back from the board's storage."""

    run: int
    step: int
    KIND: ClassVar = Kind.RESTORE
    LAYOUT: ClassVar = struct.Struct("<B3xII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Message):
    """RESTORED: answers RESTORE. `weights_crc` as in APPLIED."""

    run: int
    step: int
    weights_crc: int
    KIND: ClassVar = Kind.RESTORED
    LAYOUT: ClassVar = struct.Struct("<B3xIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision(Message):
    """PROVISION: gives the board its name and its key, which is never shown."""

    device_id: bytes
    key: bytes = field(repr=False)
    KIND: ClassVar = Kind.PROVISION
    LAYOUT: ClassVar = struct.Struct("<B3x8s32s")

    def __post_init__(self) -> None:
        self._require_bytes("device_id", DEVICE_ID_BYTES)
        self._require_bytes("key", KEY_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned(Message):
    """PROVISIONED: answers PROVISION."""

    device_id: bytes
    KIND: ClassVar = Kind.PROVISIONED
    LAYOUT: ClassVar = struct.Struct("<B3x8s")

    def __post_init__(self) -> None:
        self._require_bytes("device_id", DEVICE_ID_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget(Message):
    """FORGET: drops the board's key."""

    KIND: ClassVar = Kind.FORGET
    LAYOUT: ClassVar = struct.Struct("<B3x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten(Message):
    """FORGOTTEN: answers FORGET."""

    KIND: ClassVar = Kind.FORGOTTEN
    LAYOUT: ClassVar = struct.Struct("<B3x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(Message):
    """ERROR: a message was refused. Never answered."""

    about: int
    code: int
    detail: int = 0
    KIND: ClassVar = Kind.ERROR
    LAYOUT: ClassVar = struct.Struct("<BBhI")

    def __post_init__(self) -> None:
        self._require("code", "negative", self.code < 0)


MESSAGES: dict[int, type[Message]] = {
    message.KIND: message
    for message in (
        *(Hello, Welcome, Configure, Configured, Sample, Activation, Piece, Gradient, Apply, Applied),
        *(Clear, Cleared, Rescale, Rescaled, Read, DataRead, Stats, StatsAre, Save, Saved, Restore, Restored),
        *(Provision, Provisioned, Forget, Forgotten, Error),
    )
}


def decode(payload: bytes) -> Message:
    """The message in the payload of a DATA frame. Raises ProtocolError(LENGTH, KIND or VALUE)."""
    if not payload:
        raise ProtocolError("a message has 0 bytes, must have 1 or more", code=ErrorCode.LENGTH, about=0)
    message = MESSAGES.get(payload[0])
    if message is None:
        raise ProtocolError(
            f"a message of kind {kind_name(payload[0])} is unknown", code=ErrorCode.KIND, about=payload[0]
        )
    return message.decode(payload)
