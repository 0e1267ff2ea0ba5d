"""What a board sends: its answers, one frozen dataclass a kind (SPEC.md, section 3.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from cutlayer_host.codes import (
    ACTIVATION_CODECS,
    COUNT_MAX,
    DEVICE_ID_BYTES,
    NO_LABEL,
    NO_STEP,
    WEIGHT_COUNT_MAX,
    Kind,
    Section,
)
from cutlayer_host.message import Message, MessageWithData, field_names, wrong_length
from cutlayer_host.wire import WIRE_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable


class RunStep(NamedTuple):
    """A state of the trainable layer: the lineage that CONFIGURE named, and the steps applied."""

    run: int
    step: int


NOTHING = RunStep(0, NO_STEP)
"""What a slot of the board's storage holds when it holds nothing."""


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
        values = {name: getattr(self, name) for name in field_names(type(self))}
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
        return cls(**dict(zip(field_names(cls), (*head, *rest, saved, saves, device_id), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured(Message):
    """CONFIGURED: answers CONFIGURE."""

    last_step: int
    KIND: ClassVar = Kind.CONFIGURED
    LAYOUT: ClassVar = struct.Struct("<B3xI")


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
class Applied(Message):
    """APPLIED: answers APPLY. `weights_crc` is the CRC-32 of the float32 master weights, then bias."""

    step: int
    weights_crc: int
    saturated: int = 0
    KIND: ClassVar = Kind.APPLIED
    LAYOUT: ClassVar = struct.Struct("<B3xIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared(Message):
    """CLEARED: answers CLEAR."""

    last_step: int
    KIND: ClassVar = Kind.CLEARED
    LAYOUT: ClassVar = struct.Struct("<B3xI")


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
class DataRead(MessageWithData):
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
            raise wrong_length(self.KIND, self.LAYOUT.size + len(self.data), f"{self.count} after its header")
        self._require("section", "0 to 5", self.section in tuple(Section))
        self._require("count", "inside the section", self.offset + self.count <= self.total)


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
class StatsAre(MessageWithData):
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
            raise wrong_length(self.KIND, self.LAYOUT.size + len(self.data), f"{4 * self.n} after its header")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved(Message):
    """SAVED: answers SAVE. `saves` since the storage was new; `bytes` written for this one."""

    step: int
    saves: int
    bytes: int
    KIND: ClassVar = Kind.SAVED
    LAYOUT: ClassVar = struct.Struct("<B3xIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Message):
    """RESTORED: answers RESTORE. `weights_crc` as in APPLIED."""

    run: int
    step: int
    weights_crc: int
    KIND: ClassVar = Kind.RESTORED
    LAYOUT: ClassVar = struct.Struct("<B3xIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned(Message):
    """PROVISIONED: answers PROVISION."""

    device_id: bytes
    KIND: ClassVar = Kind.PROVISIONED
    LAYOUT: ClassVar = struct.Struct("<B3x8s")

    def __post_init__(self) -> None:
        self._require_bytes("device_id", DEVICE_ID_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten(Message):
    """FORGOTTEN: answers FORGET."""

    KIND: ClassVar = Kind.FORGOTTEN
    LAYOUT: ClassVar = struct.Struct("<B3x")
