"""Tensor codecs in C against the NumPy ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from core import SOURCE, core_library
from hypothesis import given
from hypothesis import strategies as st

from cutlayer_host import tensors
from cutlayer_host.codes import ACTIVATION_CODECS, GRADIENT_CODECS
from cutlayer_host.errors import ProtocolError

ERROR_LENGTH, ERROR_VALUE = -4, -6
activation_codecs = st.sampled_from(ACTIVATION_CODECS)
gradient_codecs = st.sampled_from(GRADIENT_CODECS)
int8s = st.integers(-128, 127)
# Few different values make masks and zeros frequent.
values = st.lists(st.one_of(int8s, st.sampled_from([-128, -128, 127, 0])), min_size=1, max_size=300).map(
    lambda items: np.array(items, np.int8)
)


@cache
def library() -> tuple[Any, Any]:
    return core_library([SOURCE / "codec.c"], ["cutlayer/codec.h"])


def pointer(array: np.ndarray) -> Any:
    ffi, _ = library()
    return ffi.cast("int8_t *", ffi.from_buffer(array))


def encode(codec: int, zero_point: int, parts: list[np.ndarray], capacity: int = 1000) -> tuple[int, bytes]:
    """The elements that were taken, and their data."""
    ffi, lib = library()
    data, encoder = ffi.new("uint8_t[]", [0xA5] * capacity), ffi.new("struct cl_encoder *")
    lib.cl_codec_begin(encoder, codec, zero_point, sum(part.size for part in parts), data, capacity)
    for part in parts:
        if lib.cl_codec_put(encoder, pointer(part), part.size) < part.size:
            break
    return encoder.taken, bytes(ffi.buffer(data, lib.cl_codec_bytes(encoder)))


def mask_of(codec: int, low: int, high: int, parts: list[np.ndarray]) -> Any:
    ffi, lib = library()
    clamp = ffi.new("struct cl_clamp *", lib.cl_clamp_of(codec, low, high))
    mask = ffi.new("uint8_t[]", [0x5A] * (sum(part.size for part in parts) // 8 + 1))
    first = 0
    for part in parts:
        lib.cl_mask_put(mask, clamp, first, pointer(part), part.size)
        first += part.size
    return mask


def split(data: st.DataObject, y: np.ndarray) -> list[np.ndarray]:
    """In up to three parts, as rows end where they will."""
    ends = sorted(data.draw(st.lists(st.integers(0, y.size), max_size=2)))
    return [part.copy() for part in np.split(y, ends)]


@given(activation_codecs, int8s, values, st.data())
def test_activations_are_encoded_as_on_the_host(
    codec: int, zero_point: int, y: np.ndarray, data: st.DataObject
) -> None:
    taken, encoded = encode(codec, zero_point, split(data, y))
    assert encoded == tensors.activation_data(y, codec, zero_point)
    assert taken == y.size


@given(activation_codecs, int8s, values)
def test_activations_are_decoded_as_on_the_host(codec: int, zero_point: int, y: np.ndarray) -> None:
    _, lib = library()
    data = tensors.activation_data(y, codec, zero_point)
    out = np.zeros_like(y)
    assert lib.cl_codec_decode(codec, zero_point, data, len(data), y.size, pointer(out)) == 0
    assert np.array_equal(out, tensors.as_sent(y, codec & 15))


@given(activation_codecs, int8s, st.binary(max_size=60), st.integers(1, 80))
def test_any_bytes_decode_as_on_the_host(codec: int, zero_point: int, data: bytes, count: int) -> None:
    _, lib = library()
    out = np.zeros(count, np.int8)
    result = lib.cl_codec_decode(codec, zero_point, data, len(data), count, pointer(out))
    try:
        expected = tensors.activation_values(data, count, codec, zero_point)
    except ProtocolError:
        assert result == ERROR_LENGTH
    else:
        assert result == 0
        assert np.array_equal(out, expected)


@given(activation_codecs, int8s, values, st.integers(1, 200), st.data())
def test_what_is_counted_is_the_most_that_fits(
    codec: int, zero_point: int, y: np.ndarray, capacity: int, data: st.DataObject
) -> None:
    ffi, lib = library()
    counter = ffi.new("struct cl_encoder *")
    lib.cl_codec_begin(counter, codec, zero_point, 0, ffi.NULL, capacity)
    for part in split(data, y):
        if lib.cl_codec_put(counter, pointer(part), part.size) < part.size:
            break
    count = counter.taken
    lengths = [len(tensors.activation_data(y[:n], codec, zero_point)) for n in range(1, y.size + 1)]
    assert count == sum(length <= capacity for length in lengths)
    assert lib.cl_codec_bytes(counter) == ([0, *lengths][count])
    if count < y.size:
        assert encode(codec, zero_point, [y[: count + 1].copy()], capacity)[0] <= count


@given(st.sampled_from((0, 1, 2)), values, int8s, int8s, st.data())
def test_the_mask_is_the_hosts(codec: int, y: np.ndarray, low: int, high: int, data: st.DataObject) -> None:
    bits = np.frombuffer(bytes(mask_of(codec, low, high, split(data, y))), np.uint8)
    found = np.unpackbits(bits, bitorder="little", count=y.size)
    assert np.array_equal(found, tensors.masked(y, codec, low, high))


@given(gradient_codecs, activation_codecs, values, int8s, int8s, st.data())
def test_gradients_cross_both_ways(
    codec: int, activation_codec: int, y: np.ndarray, low: int, high: int, data: st.DataObject
) -> None:
    ffi, lib = library()
    limit = tensors.GRADIENT_LIMITS[codec]
    g = np.array(data.draw(st.lists(st.integers(-limit, limit), min_size=y.size, max_size=y.size)), np.int8)
    masked = tensors.masked(y, activation_codec, low, high)
    mask = mask_of(activation_codec, low, high, [y])
    sent = tensors.gradient_data(g, masked, codec)
    assert lib.cl_codec_gradient_bytes(codec, mask, 0, y.size) == len(sent)

    packed = ffi.new("uint8_t[]", len(sent) + 1)
    result = lib.cl_codec_gradient_encode(codec, mask, 0, y.size, pointer(g), packed, len(sent))
    assert bytes(ffi.buffer(packed, result)) == sent

    parts, code, first = split(data, np.full_like(y, 99)), ffi.new("uint32_t *"), 0
    for part in parts:
        result = lib.cl_codec_gradient_decode(codec, mask, first, part.size, sent, code, pointer(part))
        assert result == 0
        first += part.size
    assert np.array_equal(np.concatenate(parts), np.where(masked, 0, g))


@pytest.mark.parametrize(("codec", "lowest"), [(0, -128), (1, -8), (2, -2)])
def test_the_lowest_value_of_a_width_is_refused(codec: int, lowest: int) -> None:
    ffi, lib = library()
    mask = mask_of(0, -128, 127, [np.zeros(1, np.int8)])
    out, code = np.zeros(1, np.int8), ffi.new("uint32_t *")
    data = bytes([lowest & (0xFF >> (8 - (8 >> codec)))])
    assert lib.cl_codec_gradient_decode(codec, mask, 0, 1, data, code, pointer(out)) == ERROR_VALUE
    g = np.array([lowest], np.int8)
    packed = ffi.new("uint8_t[]", 1)
    result = lib.cl_codec_gradient_encode(codec, mask, 0, 1, pointer(g), packed, 1)
    assert result == ERROR_VALUE


def test_which_codecs_there_are() -> None:
    _, lib = library()
    assert [c for c in range(256) if lib.cl_codec_is_activation(c)] == list(ACTIVATION_CODECS)
    assert [c for c in range(256) if lib.cl_codec_is_gradient(c)] == list(GRADIENT_CODECS)
