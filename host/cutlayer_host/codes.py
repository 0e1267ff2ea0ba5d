"""The numbers of the wire: kinds of messages, what fields hold, codes of errors (SPEC.md, section 3)."""

from __future__ import annotations

import enum

LIVE_RECORDING = 0xFFFFFFFF
NO_LABEL = -1
NO_STEP = 0xFFFFFFFF
DEVICE_ID_BYTES = 8
KEY_BYTES = 32

# A board has less than 512 KB of RAM: what claims to be larger is not smashed data.
COUNT_MAX = 1 << 20
WEIGHT_COUNT_MAX = 1 << 24

ACTIVATION_CODECS = (0, 1, 2, 16, 17, 18)
GRADIENT_CODECS = (0, 1, 2)


class Kind(enum.IntEnum):
    """The first byte of a message."""

    HELLO = 0x01
    CONFIGURE = 0x02
    SAMPLE = 0x03
    GRADIENT = 0x04
    APPLY = 0x05
    CLEAR = 0x06
    RESCALE = 0x07
    READ = 0x08
    STATS = 0x09
    SAVE = 0x0A
    RESTORE = 0x0B
    PROVISION = 0x0C
    FORGET = 0x0D
    PIECE = 0x10
    ERROR = 0x7F
    WELCOME = 0x81
    CONFIGURED = 0x82
    ACTIVATION = 0x83
    APPLIED = 0x85
    CLEARED = 0x86
    RESCALED = 0x87
    DATA_READ = 0x88
    STATS_ARE = 0x89
    SAVED = 0x8A
    RESTORED = 0x8B
    PROVISIONED = 0x8C
    FORGOTTEN = 0x8D


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


class ErrorCode(enum.IntEnum):
    """`enum cl_error` of cutlayer/error.h. Codes below PORT belong to a port or a sensor."""

    OK = 0
    ARGUMENT = -1
    MEMORY = -2
    FRAME = -3
    LENGTH = -4
    KIND = -5
    VALUE = -6
    STATE = -7
    STEP = -8
    SAMPLE = -9
    SENSOR = -10
    OVERFLOW = -11
    CLOSED = -12
    STORAGE = -13
    KEY = -14
    LIMIT = -15
    PORT = -128


class SensorCode(enum.IntEnum):
    """What a live sensor says in the detail of ERROR(SENSOR); kws/audio.h."""

    NOTHING_HEARD = -160


def kind_name(kind: int) -> str:
    """HELLO for 1, 0x33 for a number that is no kind."""
    try:
        return Kind(kind).name
    except ValueError:
        return f"0x{kind:02X}"


def error_name(code: int) -> str:
    """VALUE for -6, -200 for a code of a port."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)
