"""Messages in C against the Python dataclasses: the same bytes are taken, refused for the same reason."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import pytest
from core import SOURCE, core_library
from hypothesis import example, given
from hypothesis import strategies as st

from cutlayer_host.board_messages import (
    Activation,
    Applied,
    Cleared,
    Configured,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.codes import Flag, Optimizer
from cutlayer_host.errors import ProtocolError
from cutlayer_host.host_messages import Apply, Configure, Gradient, Hello, Provision, Read, Rescale, Sample
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import decode as decode_message
from cutlayer_host.wire import WIRE_VERSION

LENGTHS = {1: 4, 2: 24, 3: 12, 4: 16, 5: 12, 6: 4, 7: 12, 8: 12, 9: 4, 10: 8, 11: 12, 12: 44, 13: 4, 0x10: 20}
HOST_KINDS = tuple(LENGTHS)


@cache
def library() -> tuple[Any, Any]:
    return core_library([SOURCE / "message.c", SOURCE / "codec.c"], ["cutlayer/message.h"])


def decode(payload: bytes) -> tuple[int, Any]:
    ffi, lib = library()
    message, data = ffi.new("struct cl_message *"), ffi.new("uint8_t[]", payload or b"\0")
    return lib.cl_message_decode(message, data, len(payload)), message


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Nearly messages: the right kind, mostly the right length, fields that are often in range."""
    kind = draw(st.sampled_from(HOST_KINDS))
    size = draw(st.sampled_from([LENGTHS[kind]] * 5 + [LENGTHS[kind] - 1, LENGTHS[kind] + 1, 1]))
    word = st.one_of(
        st.binary(min_size=4, max_size=4),
        st.sampled_from([0, 1, 2, 0x10001]).map(lambda value: struct.pack("<I", value)),
        st.floats(width=32).map(lambda value: struct.pack("<f", value)),
        st.sampled_from([0.0, 0.5, 0.999, 1.0, -0.0, 1e-7]).map(lambda value: struct.pack("<f", value)),
    )
    words = draw(st.lists(word, min_size=11, max_size=11))
    first = draw(st.sampled_from([0, 1, 1, 2, 17]))
    return (bytes([kind, first]) + b"".join(words))[:size]


@given(payloads())
@example(Configure(optimizer=Optimizer.ADAM, epsilon=1e-7, beta2=0.999).encode())
def test_the_board_refuses_what_the_host_would(payload: bytes) -> None:
    result, message = decode(payload)
    refused: list[int] = []
    try:
        expected: Any = decode_message(payload)
    except ProtocolError as error:
        refused.append(error.code)
    if refused:
        assert result == refused[0]
        return
    if isinstance(expected, Hello) and expected.wire_version != WIRE_VERSION:
        assert result == -6  # the host leaves this one to the session
        return
    assert result == 0
    assert message.kind == payload[0]
    for part in ("configure", "sample", "gradient", "apply", "rescale", "read", "save", "restore"):
        if expected.KIND.name.lower() == part:
            fields = getattr(getattr(message, "as"), part)
            for name in dir(fields):
                assert getattr(fields, name) == getattr(expected, name)
    if isinstance(expected, Provision):
        provision, ffi = getattr(message, "as").provision, library()[0]
        assert bytes(ffi.buffer(provision.device_id, 8)) == expected.device_id
        assert bytes(ffi.buffer(provision.key, 32)) == expected.key
    if isinstance(expected, Piece):
        piece = getattr(message, "as").piece
        assert (piece.first, piece.count) == (expected.first, expected.count)
        assert piece.data_bytes == len(expected.data)


def floats(*values: float) -> list[bytes]:
    return [struct.pack("<f", value) for value in values]


BAD_FLOATS = floats(float("nan"), float("inf"), -float("inf"), -1e-7)
CONFIGURE = Configure(optimizer=1, momentum=0.9, beta2=0.999, epsilon=1e-7)
SGD = Configure(momentum=0.5)
# Message, offset of a field, values that are refused there, values that are taken.
FIELDS: list[tuple[Message, int, list[bytes], list[bytes]]] = [
    (Hello(), 1, [b"\0", b"\1", b"\3"], [b"\2"]),
    (CONFIGURE, 1, [b"\2", b"\xff"], [b"\0", b"\1"]),
    (CONFIGURE, 4, [b"\3", b"\x13", b"\x20"], [b"\0", b"\2", b"\x10", b"\x12"]),
    (CONFIGURE, 5, [b"\3", b"\x10"], [b"\0", b"\1", b"\2"]),
    (CONFIGURE, 6, [b"\2"], [b"\0", b"\1"]),
    (CONFIGURE, 7, [], [b"\xff"]),
    (CONFIGURE, 8, [*BAD_FLOATS, *floats(1.0)], floats(0.0, 0.99)),
    (CONFIGURE, 12, [*BAD_FLOATS, *floats(1.0)], floats(0.0, 0.99)),
    (CONFIGURE, 16, [*BAD_FLOATS, *floats(0.0)], floats(1.0, 1e-30)),
    (SGD, 16, BAD_FLOATS, floats(0.0, 1.0)),
    (Sample(sample=1), 1, [b"\2"], [b"\0", b"\1"]),
    (Gradient(sample=1, count=5, scale=1.0), 1, [b"\3", b"\x10"], [b"\0", b"\2"]),
    (Gradient(sample=1, count=5, scale=1.0), 8, [bytes(4), b"\1\0\x10\0"], [b"\0\0\x10\0"]),
    (Gradient(sample=1, count=5, scale=1.0), 12, [*BAD_FLOATS, *floats(0.0)], floats(1e-30)),
    (Piece(first=0, count=1, data=b""), 2, [b"\0\0"], [b"\1\0", b"\xff\xff"]),
    (Apply(step=1, samples=1, learning_rate=0.1), 2, [b"\0\0"], [b"\xff\xff"]),
    (Apply(step=1, samples=1, learning_rate=0.1), 8, [*BAD_FLOATS, *floats(0.0)], floats(1e-30)),
    (Rescale(scale=1.0, zero_point=0), 4, [*BAD_FLOATS, *floats(0.0)], floats(1e-30)),
    (Read(section=0, offset=0, count=1), 1, [b"\6"], [b"\0", b"\5"]),
    (Read(section=0, offset=0, count=1), 2, [b"\0\0"], [b"\xff\xff"]),
]


@pytest.mark.parametrize("index", range(len(FIELDS)))
def test_every_field_at_the_ends_of_its_range(index: int) -> None:
    message, offset, refused, taken = FIELDS[index]
    for values, expected in ((refused, -6), (taken, 0)):
        for value in values:
            payload = bytearray(message.encode())
            payload[offset : offset + len(value)] = value
            assert decode(bytes(payload))[0] == expected, value


@given(st.binary(max_size=40))
def test_unknown_kinds_are_refused(payload: bytes) -> None:
    result, _ = decode(payload)
    if not payload:
        assert result == -4
    elif payload[0] not in (*HOST_KINDS, 0x7F):
        assert result == -5


def sent(encoder: str, *arguments: Any) -> Message:
    """What the host reads of what the board writes."""
    ffi, lib = library()
    payload = ffi.new("uint8_t[]", b"\xee" * 128)
    count = getattr(lib, encoder)(*arguments, payload)
    return decode_message(bytes(ffi.buffer(payload, count)))


def test_replies_are_what_the_host_reads() -> None:
    ffi, _ = library()
    model_id, board = ffi.new("uint8_t[]", bytes(range(32))), ffi.new("char[]", b"a board with a long name")
    counts = {"last_step": 5, "recordings": 6, "smashed_count": 7, "weight_count": 8, "channel_count": 9}
    counts |= {"output_zero_point": -3, "arena_bytes": 10, "train_bytes": 11, "cut_count": 12}
    counts |= {"run": 13, "saves": 14, "device_id": bytes(range(8)), "saved": ((15, 16), (17, 18))}
    counts |= {"optimizers": 3, "codecs": 0x17, "output_scale": 0.5}
    welcome = {"firmware_version": (1, 2, 3), "flags": 5, "model_id": model_id, "board": board}
    assert sent("cl_welcome_encode", ffi.new("struct cl_welcome *", welcome | counts)) == Welcome(
        model_id=bytes(range(32)),
        board="a board with a l",
        firmware_version=(1, 2, 3),
        flags=Flag.TRAINABLE | Flag.CONFIGURED,
        **counts,
    )
    fields = {"codec": 17, "label": -1, "sample": 4, "count": 100, "scale": 0.25, "zero_point": -7}
    fields |= {"activation_min": -7, "activation_max": 99, "saturated": 3, "crc": 0x89ABCDEF}
    activation = sent("cl_activation_encode", ffi.new("struct cl_activation_head *", fields))
    assert activation == Activation(**fields)
    applied = {"step": 9, "weights_crc": 0xFEDCBA98, "saturated": 2}
    assert sent("cl_applied_encode", ffi.new("struct cl_applied *", applied)) == Applied(**applied)
    assert sent("cl_rescaled_encode", 0.75, -9, 4) == Rescaled(scale=0.75, zero_point=-9, last_step=4)
    assert sent("cl_saved_encode", ffi.new("struct cl_saved *", (6, 7, 8))) == Saved(step=6, saves=7, bytes=8)
    restored = sent("cl_restored_encode", ffi.new("struct cl_run_step *", (6, 7)), 2**32 - 1)
    assert restored == Restored(run=6, step=7, weights_crc=2**32 - 1)
    assert sent("cl_provisioned_encode", bytes(range(8))) == Provisioned(device_id=bytes(range(8)))
    assert sent("cl_forgotten_encode") == Forgotten()
    assert sent("cl_error_encode", 5, -9, 77) == Error(about=5, code=-9, detail=77)
    assert sent("cl_step_encode", 0x82, 6) == Configured(last_step=6)
    assert sent("cl_step_encode", 0x86, 7) == Cleared(last_step=7)
    assert sent("cl_stats_are_encode", [1, 2, 2**32 - 1], 3) == StatsAre.of((1, 2, 2**32 - 1))
    assert sent("cl_piece_encode", 513, 70000) == Piece(first=70000, count=513, data=b"")


@pytest.mark.parametrize("kind", HOST_KINDS)
def test_every_length_but_its_own_is_refused(kind: int) -> None:
    for size in range(1, 64):
        result, _ = decode(bytes([kind]) + bytes(size - 1))
        if kind == 0x10:
            assert (result == -4) == (size < 8)
        else:
            assert (result == -4) == (size != LENGTHS[kind])
