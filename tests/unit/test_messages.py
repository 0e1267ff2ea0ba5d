"""Messages: every field there and back, every limit refused by name."""

from __future__ import annotations

import dataclasses
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutlayer_host.board_messages import (
    COUNTERS,
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
from cutlayer_host.codes import (
    ACTIVATION_CODECS,
    COUNT_MAX,
    GRADIENT_CODECS,
    WEIGHT_COUNT_MAX,
    ErrorCode,
    Kind,
    Mode,
    Optimizer,
    Section,
)
from cutlayer_host.errors import ProtocolError
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
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import MESSAGES, decode
from cutlayer_host.wire import WIRE_VERSION

u8, u16, u32 = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
i8 = st.integers(-128, 127)
positive = st.floats(2.0**-100, 2.0**100, width=32)
fraction = st.floats(0, 1, width=32, exclude_max=True)
counts = st.integers(1, COUNT_MAX)
states = st.builds(RunStep, run=u32, step=u32)
device_ids = st.binary(min_size=8, max_size=8)
ends = st.tuples(i8, i8).map(sorted)

STRATEGIES: dict[type[Message], st.SearchStrategy[Message]] = {
    Hello: st.builds(Hello, wire_version=u8),
    Welcome: st.builds(
        Welcome,
        wire_version=u8,
        firmware_version=st.tuples(u8, u8, u8),
        flags=u8,
        optimizers=u8,
        codecs=u8,
        model_id=st.binary(min_size=32, max_size=32),
        board=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=16),
        last_step=u32,
        recordings=st.integers(0, COUNT_MAX),
        smashed_count=st.integers(1, COUNT_MAX),
        weight_count=st.integers(0, WEIGHT_COUNT_MAX),
        channel_count=u16,
        output_scale=positive,
        output_zero_point=i8,
        arena_bytes=u32,
        train_bytes=u32,
        cut_count=st.integers(1, 0xFFFF),
        run=u32,
        saved=st.tuples(states, states),
        saves=u32,
        device_id=device_ids,
    ),
    Configure: st.builds(
        Configure,
        restart=st.booleans(),
        cut=u16,
        activation_codec=st.sampled_from(ACTIVATION_CODECS),
        gradient_codec=st.sampled_from(GRADIENT_CODECS),
        optimizer=st.sampled_from(Optimizer),
        momentum=fraction,
        beta2=fraction,
        epsilon=positive,
        run=u32,
    ),
    Configured: st.builds(Configured, last_step=u32),
    Sample: st.builds(Sample, mode=st.sampled_from(Mode), sample=u32, recording=u32),
    Activation: st.builds(
        lambda ends, **fields: Activation(activation_min=ends[0], activation_max=ends[1], **fields),
        ends,
        codec=st.sampled_from(ACTIVATION_CODECS),
        label=st.integers(-1, 0x7FFF),
        sample=u32,
        count=st.just(COUNT_MAX),
        scale=positive,
        zero_point=i8,
        saturated=st.integers(0, COUNT_MAX),
        crc=u32,
    ),
    Piece: st.builds(Piece, count=st.integers(1, 0xFFFF), first=u32, data=st.binary(max_size=100)),
    Gradient: st.builds(
        Gradient, codec=st.sampled_from(GRADIENT_CODECS), sample=u32, count=counts, scale=positive
    ),
    Apply: st.builds(Apply, samples=st.integers(1, 0xFFFF), step=u32, learning_rate=positive),
    Applied: st.builds(Applied, step=u32, weights_crc=u32, saturated=u32),
    Clear: st.builds(Clear),
    Cleared: st.builds(Cleared, last_step=u32),
    Rescale: st.builds(Rescale, zero_point=i8, scale=positive),
    Rescaled: st.builds(Rescaled, zero_point=i8, scale=positive, last_step=u32),
    Read: st.builds(Read, section=st.sampled_from(Section), count=st.integers(1, 0xFFFF), offset=u32),
    DataRead: st.binary(max_size=100).map(
        lambda data: DataRead(section=3, count=len(data), offset=7, total=7 + len(data), data=data)
    ),
    Stats: st.builds(Stats),
    StatsAre: st.lists(u32, max_size=30).map(StatsAre.of),
    Save: st.builds(Save, step=u32),
    Saved: st.builds(Saved, step=u32, saves=u32, bytes=u32),
    Restore: st.builds(Restore, run=u32, step=u32),
    Restored: st.builds(Restored, run=u32, step=u32, weights_crc=u32),
    Provision: st.builds(Provision, device_id=device_ids, key=st.binary(min_size=32, max_size=32)),
    Provisioned: st.builds(Provisioned, device_id=device_ids),
    Forget: st.builds(Forget),
    Forgotten: st.builds(Forgotten),
    Error: st.builds(Error, about=u8, code=st.integers(-0x8000, -1), detail=u32),
}


def test_every_kind_has_its_message() -> None:
    assert set(MESSAGES) == set(Kind)
    assert set(MESSAGES.values()) == set(STRATEGIES)


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_message_comes_back_as_it_was(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(STRATEGIES[kind])
    payload = message.encode()
    assert payload[0] == kind.KIND
    assert decode(payload) == message


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda kind: kind.__name__)
def test_another_length_is_refused(kind: type[Message]) -> None:
    size = kind.LAYOUT.size
    lengths = {*range(1, size)} if kind in (Piece, DataRead, StatsAre) else {*range(1, size + 4)} - {size}
    for length in lengths:
        with pytest.raises(ProtocolError) as caught:
            decode(bytes([kind.KIND]) + bytes(length - 1))
        assert caught.value.code == ErrorCode.LENGTH
        assert caught.value.about == kind.KIND


@pytest.mark.parametrize("kind", [0, 0x0E, 0x0F, 0x11, 0x7E, 0x80, 0x84, 0x8E, 0xFF])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(ProtocolError, match="unknown") as caught:
        decode(bytes([kind]) * 12)
    assert (caught.value.code, caught.value.about) == (ErrorCode.KIND, kind)
    with pytest.raises(ProtocolError, match="0 bytes"):
        decode(b"")


GOOD: dict[type[Message], Message] = {
    Welcome: Welcome(smashed_count=1, output_scale=1.0, output_zero_point=0),
    Configure: Configure(),
    Sample: Sample(sample=1),
    Activation: Activation(sample=1, count=1, scale=1.0, zero_point=0, crc=0),
    Piece: Piece(count=1, first=0, data=b""),
    Gradient: Gradient(sample=1, count=1, scale=1.0),
    Apply: Apply(samples=1, step=1, learning_rate=1.0),
    Rescale: Rescale(zero_point=0, scale=1.0),
    Rescaled: Rescaled(zero_point=0, scale=1.0, last_step=0),
    Read: Read(section=0, count=1, offset=0),
    DataRead: DataRead(section=0, count=0, offset=0, total=0, data=b""),
    Error: Error(about=1, code=-1),
}
NAN, INFINITE = float("nan"), float("inf")
BAD_SCALES = (0.0, -1.0, NAN, INFINITE)
BAD = [
    *((Welcome, "output_scale", value) for value in BAD_SCALES),
    (Welcome, "smashed_count", 0),
    (Welcome, "smashed_count", COUNT_MAX + 1),
    (Welcome, "recordings", COUNT_MAX + 1),
    (Welcome, "weight_count", WEIGHT_COUNT_MAX + 1),
    (Welcome, "channel_count", 1 << 16),
    (Welcome, "cut_count", 0),
    *((Configure, name, value) for name in ("momentum", "beta2") for value in (-0.5, 1.0, NAN, INFINITE)),
    *((Configure, "epsilon", value) for value in (-1.0, NAN, INFINITE)),
    *((Configure, "activation_codec", value) for value in (3, 15, 19, 32, 255)),
    *((Configure, "gradient_codec", value) for value in (3, 16, 255)),
    (Configure, "optimizer", 2),
    (Configure, "restart", 2),
    (Sample, "mode", 2),
    (Activation, "codec", 3),
    (Activation, "label", -2),
    (Activation, "count", 0),
    (Activation, "count", COUNT_MAX + 1),
    (Activation, "saturated", 2),
    *((Activation, "scale", value) for value in BAD_SCALES),
    (Piece, "count", 0),
    (Gradient, "codec", 16),
    (Gradient, "count", 0),
    *((Gradient, "scale", value) for value in BAD_SCALES),
    (Apply, "samples", 0),
    *((Apply, "learning_rate", value) for value in BAD_SCALES),
    *((Rescale, "scale", value) for value in BAD_SCALES),
    *((Rescaled, "scale", value) for value in BAD_SCALES),
    (Read, "section", 6),
    (Read, "count", 0),
    (DataRead, "section", 6),
    (Error, "code", 0),
    (Error, "code", 5),
]


@pytest.mark.parametrize(("kind", "name", "value"), BAD)
def test_a_value_out_of_range_is_refused_by_name(kind: type[Message], name: str, value: float) -> None:
    good = GOOD[kind]
    with pytest.raises(ProtocolError, match=rf"{kind.KIND.name}\.{name} is .*, must be") as made:
        dataclasses.replace(good, **{name: value})  # type: ignore[type-var]
    assert (made.value.code, made.value.about) == (ErrorCode.VALUE, kind.KIND)
    # The same off the wire, past the constructor.
    unchecked = object.__new__(kind)
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        object.__setattr__(unchecked, item.name, value if item.name == name else getattr(good, item.name))
    with pytest.raises(ProtocolError, match=rf"{kind.KIND.name}\.{name} is") as decoded:
        decode(unchecked.encode())
    assert decoded.value.code == ErrorCode.VALUE


def test_a_key_is_never_shown() -> None:
    key = bytes(range(100, 132))
    assert "key" not in repr(Provision(device_id=bytes(8), key=key))
    with pytest.raises(ProtocolError, match=r"PROVISION\.key has 31 bytes, must have 32$"):
        Provision(device_id=bytes(8), key=key[1:])


def test_epsilon_of_adam_is_above_zero() -> None:
    Configure(optimizer=Optimizer.ADAM, epsilon=1e-7)
    with pytest.raises(ProtocolError, match="epsilon"):
        Configure(optimizer=Optimizer.ADAM, epsilon=0.0)


@pytest.mark.parametrize("board", ["seventeen letters", "b\xe4r", "line\n"])
def test_the_board_is_named_in_ascii(board: str) -> None:
    with pytest.raises(ProtocolError, match=r"WELCOME\.board"):
        dataclasses.replace(GOOD[Welcome], board=board)  # type: ignore[type-var]


def test_a_number_too_large_for_its_field_is_refused() -> None:
    with pytest.raises(ProtocolError, match="Sample"):
        Sample(sample=1 << 32).encode()
    with pytest.raises(ProtocolError):
        Rescale(zero_point=200, scale=1.0).encode()
    with pytest.raises(ProtocolError):
        Gradient(sample=1, count=1, scale=1e300).encode()


@pytest.mark.parametrize(
    "payload",
    [
        DataRead(section=0, count=2, offset=0, total=2, data=b"ab").encode() + b"c",
        DataRead(section=0, count=2, offset=0, total=2, data=b"ab").encode()[:-1],
        struct.pack("<BxH", Kind.STATS_ARE, 2) + bytes(4),
        struct.pack("<BxH", Kind.STATS_ARE, 0) + bytes(4),
    ],
)
def test_data_that_its_count_belies_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(payload)
    assert caught.value.code == ErrorCode.LENGTH


def test_data_beyond_its_section_is_refused() -> None:
    with pytest.raises(ProtocolError, match="inside the section"):
        DataRead(section=0, count=2, offset=9, total=10, data=b"ab")


def test_reserved_bytes_are_ignored() -> None:
    assert decode(bytes([Kind.HELLO, WIRE_VERSION, 255, 255])) == Hello()
    assert decode(bytes([Kind.CLEAR, 255, 255, 255])) == Clear()


def test_counters_have_names_and_more_may_follow() -> None:
    counters = StatsAre.of(range(20)).named()
    assert list(counters) == list(COUNTERS)
    assert counters["messages_refused"] == 14
    assert StatsAre.of(range(3)).named() == {
        "frames_received": 0,
        "frames_malformed": 1,
        "frames_sent_again": 2,
    }


def test_any_bytes_decode_or_are_refused() -> None:
    rng = random.Random(1)
    codes = set()
    decoded = 0
    for _ in range(20_000):
        kind = rng.choice([*Kind, rng.randrange(256)])
        layout = MESSAGES[kind].LAYOUT.size if kind in MESSAGES else 4
        payload = bytes([kind]) + rng.randbytes(layout - 1 + rng.choice((0, 0, 0, 1, 40)))
        try:
            message = decode(payload)
        except ProtocolError as error:
            codes.add(error.code)
            continue
        decoded += 1
        assert decode(message.encode()) == message
    assert decoded > 1000
    assert codes == {ErrorCode.LENGTH, ErrorCode.KIND, ErrorCode.VALUE}
