"""Codecs of tensors: what SPEC.md, section 3.3 says in words, worked out element by element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cutlayer_host import tensors
from cutlayer_host.codes import ACTIVATION_CODECS, GRADIENT_CODECS, ErrorCode
from cutlayer_host.errors import ProtocolError

int8 = st.integers(-128, 127)
vectors = arrays.arrays(np.int8, st.integers(1, 300))
activation_codecs = st.sampled_from(ACTIVATION_CODECS)
gradient_codecs = st.sampled_from(GRADIENT_CODECS)


def code(y: int, codec: int) -> int:
    return {0: y + 128, 1: (y + 136) // 17, 2: (y + 170) // 85}[codec & 15]


def sent(u: int, codec: int) -> int:
    return {0: u - 128, 1: 17 * u - 128, 2: 85 * u - 128}[codec & 15]


def pack(codes: list[int], codec: int) -> bytes:
    bits = {0: 8, 1: 4, 2: 2}[codec & 15]
    number = sum(u << (bits * place) for place, u in enumerate(codes))
    return number.to_bytes((len(codes) * bits + 7) // 8, "little")


def by_the_book(values: list[int], codec: int, zero_point: int) -> bytes:
    codes = [code(y, codec) for y in values]
    if codec < 16:
        return pack(codes, codec)
    shown = [u != code(zero_point, codec) for u in codes]
    bitmap = sum(bit << place for place, bit in enumerate(shown)).to_bytes((len(values) + 7) // 8, "little")
    return bitmap + pack([u for u, bit in zip(codes, shown, strict=True) if bit], codec)


@given(vectors, activation_codecs, int8)
def test_activations_are_encoded_by_the_book(values: np.ndarray, codec: int, zero_point: int) -> None:
    data = tensors.activation_data(values, codec, zero_point)
    assert data == by_the_book(values.tolist(), codec, zero_point)
    received = tensors.activation_values(data, values.size, codec, zero_point)
    assert received.tolist() == [sent(code(y, codec), codec) for y in values.tolist()]
    assert np.array_equal(received, tensors.as_sent(values, codec))
    if tensors.lossless(codec):
        assert np.array_equal(received, values)


@pytest.mark.parametrize("codec", ACTIVATION_CODECS)
def test_the_ends_of_the_range_are_exact(codec: int) -> None:
    ends = np.array([-128, 127], np.int8)
    assert np.array_equal(tensors.as_sent(ends, codec), ends)


@pytest.mark.parametrize(("codec", "most"), [(0, 0), (1, 8), (2, 42)])
def test_no_element_is_off_by_more_than_half_a_step(codec: int, most: int) -> None:
    values = np.arange(-128, 128).astype(np.int8)
    error = np.abs(tensors.as_sent(values, codec).astype(int) - values)
    assert error.max() == most


@given(vectors, activation_codecs, int8, st.data())
def test_data_of_another_length_is_refused(
    values: np.ndarray, codec: int, zero_point: int, data: st.DataObject
) -> None:
    encoded = tensors.activation_data(values, codec, zero_point)
    length = data.draw(st.integers(0, len(encoded) + 5).filter(lambda length: length != len(encoded)))
    wrong = (encoded + bytes(5))[:length]
    with pytest.raises(ProtocolError, match="must have") as caught:
        tensors.activation_values(wrong, values.size, codec, zero_point)
    assert caught.value.code == ErrorCode.LENGTH


@given(vectors, activation_codecs, int8, int8)
def test_the_mask_is_that_of_the_clamped_ends(values: np.ndarray, codec: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    mask = tensors.masked(values, codec, low, high)
    clamped = {code(low, codec), code(high, codec)}
    assert mask.tolist() == [code(y, codec) in clamped for y in values.tolist()]
    # The board has y, the host has y'.
    assert np.array_equal(mask, tensors.masked(tensors.as_sent(values, codec), codec, low, high))


@given(st.data(), gradient_codecs)
def test_gradients_are_encoded_by_the_book(data: st.DataObject, codec: int) -> None:
    limit = tensors.GRADIENT_LIMITS[codec]
    size = data.draw(st.integers(1, 200))
    values = np.array(data.draw(st.lists(st.integers(-limit, limit), min_size=size, max_size=size)), np.int8)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    encoded = tensors.gradient_data(values, mask, codec)
    bits = {0: 8, 1: 4, 2: 2}[codec]
    assert encoded == pack([g % (1 << bits) for g in values[~mask].tolist()], codec)
    assert np.array_equal(tensors.gradient_values(encoded, mask, codec), np.where(mask, 0, values))
    with pytest.raises(ProtocolError):
        tensors.gradient_values(encoded + b"\0", mask, codec)


@pytest.mark.parametrize(("codec", "data"), [(0, b"\x80"), (1, b"\x08"), (1, b"\x81"), (2, b"\x20")])
def test_the_lowest_value_of_a_gradient_is_refused(codec: int, data: bytes) -> None:
    mask = np.zeros(8 // {0: 8, 1: 4, 2: 2}[codec], np.bool_)
    with pytest.raises(ProtocolError, match="must be") as caught:
        tensors.gradient_values(data, mask, codec)
    assert caught.value.code == ErrorCode.VALUE


@pytest.mark.parametrize("codec", GRADIENT_CODECS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_gradient_that_the_codec_lacks_is_refused(codec: int, sign: int) -> None:
    limit = tensors.GRADIENT_LIMITS[codec]
    mask = np.array([False, True])
    beyond = np.array([-128 if sign < 0 and codec == 0 else sign * min(limit + 1, 127), 0], np.int8)
    if sign > 0 and codec == 0:
        assert tensors.gradient_data(beyond, mask, codec) == b"\x7f"
        return
    with pytest.raises(ValueError, match="takes"):
        tensors.gradient_data(beyond, mask, codec)
    # What is masked is not sent, so it may be anything.
    assert tensors.gradient_data(beyond[::-1].copy(), mask, codec) == b"\0"


@given(arrays.arrays(np.int8, st.integers(1, 3000)), activation_codecs, int8, st.integers(128, 1024))
def test_pieces_of_activations_make_the_whole(
    values: np.ndarray, codec: int, zero_point: int, max_payload: int
) -> None:
    received, first = [], 0
    for piece in tensors.activation_pieces(values, codec, zero_point, max_payload):
        assert piece.first == first
        assert len(piece.encode()) <= max_payload
        received.append(tensors.activation_values(piece.data, piece.count, codec, zero_point))
        first += piece.count
    assert np.array_equal(np.concatenate(received), tensors.as_sent(values, codec))


@given(st.integers(1, 3000), st.floats(0, 1), gradient_codecs, st.integers(128, 1024), st.integers(0, 99))
def test_pieces_of_a_gradient_make_the_whole(
    size: int, masked_fraction: float, codec: int, max_payload: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    limit = tensors.GRADIENT_LIMITS[codec]
    values = rng.integers(-limit, limit, size, endpoint=True).astype(np.int8)
    mask = rng.random(size) < masked_fraction
    pieces = list(tensors.gradient_pieces(values, mask, codec, max_payload))
    received, first = [], 0
    for piece in pieces:
        assert piece.first == first
        assert len(piece.encode()) <= max_payload
        part = mask[first : first + piece.count]
        received.append(tensors.gradient_values(piece.data, part, codec))
        first += piece.count
    assert np.array_equal(np.concatenate(received), np.where(mask, 0, values))
    room = (max_payload - 8) * {0: 1, 1: 2, 2: 4}[codec]
    assert len(pieces) == max(1, -(-int(np.count_nonzero(~mask)) // room))


def test_a_gradient_that_is_all_masked_is_as_few_pieces_as_counts_allow() -> None:
    mask = np.ones(150_000, np.bool_)
    pieces = list(tensors.gradient_pieces(np.zeros(150_000, np.int8), mask, 0, 128))
    assert [(piece.first, piece.count, piece.data) for piece in pieces] == [
        (0, 65535, b""),
        (65535, 65535, b""),
        (131070, 18930, b""),
    ]
