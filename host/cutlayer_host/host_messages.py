"""What a host sends: its requests, one frozen dataclass a kind (SPEC.md, section 3.1)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import ClassVar

from cutlayer_host.codes import (
    ACTIVATION_CODECS,
    COUNT_MAX,
    DEVICE_ID_BYTES,
    GRADIENT_CODECS,
    KEY_BYTES,
    LIVE_RECORDING,
    Kind,
    Mode,
    Optimizer,
    Section,
)
from cutlayer_host.message import Message
from cutlayer_host.wire import WIRE_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Message):
    """HELLO: the first message of a connection."""

    wire_version: int = WIRE_VERSION
    KIND: ClassVar = Kind.HELLO
    LAYOUT: ClassVar = struct.Struct("<BB2x")


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
class Clear(Message):
    """CLEAR: drops the pending sample and the half step."""

    KIND: ClassVar = Kind.CLEAR
    LAYOUT: ClassVar = struct.Struct("<B3x")


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
class Stats(Message):
    """STATS: asks for the board's counters."""

    KIND: ClassVar = Kind.STATS
    LAYOUT: ClassVar = struct.Struct("<B3x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Save(Message):
    """SAVE: keep the state of the last step in the board's storage."""

    step: int
    KIND: ClassVar = Kind.SAVE
    LAYOUT: ClassVar = struct.Struct("<B3xI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Message):
    """RESTORE: take a state back from the board's storage."""

    run: int
    step: int
    KIND: ClassVar = Kind.RESTORE
    LAYOUT: ClassVar = struct.Struct("<B3xII")


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
class Forget(Message):
    """FORGET: drops the board's key."""

    KIND: ClassVar = Kind.FORGET
    LAYOUT: ClassVar = struct.Struct("<B3x")
