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

ERROR_MEMORY, ERROR_LENGTH, ERROR_VALUE = -2, -4, -6
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


def encode(codec: int, zero_point: int, y: np.ndarray, capacity: int = 1000) -> tuple[int, bytes]:
    ffi, lib = library()
    data = ffi.new("uint8_t[]", capacity)
    result = lib.cl_codec_encode(codec, zero_point, pointer(y), y.size, data, capacity)
    return result, bytes(ffi.buffer(data, max(result, 0)))


def mask_of(codec: int, low: int, high: int) -> Any:
    ffi, lib = library()
    return ffi.new("struct cl_mask *", lib.cl_mask_of(codec, low, high))


@given(activation_codecs, int8s, values)
def test_activations_are_encoded_as_on_the_host(codec: int, zero_point: int, y: np.ndarray) -> None:
    result, data = encode(codec, zero_point, y)
    assert data == tensors.activation_data(y, codec, zero_point)
    assert result == len(data)


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


@given(activation_codecs, int8s, values, st.integers(1, 200))
def test_fit_is_the_most_that_fits(codec: int, zero_point: int, y: np.ndarray, capacity: int) -> None:
    _, lib = library()
    count = lib.cl_codec_fit(codec, zero_point, pointer(y), y.size, capacity)
    lengths = [len(tensors.activation_data(y[:n], codec, zero_point)) for n in range(1, y.size + 1)]
    assert count == sum(length <= capacity for length in lengths)
    if count < y.size:
        assert encode(codec, zero_point, y[: count + 1].copy(), capacity)[0] == ERROR_MEMORY


@given(st.sampled_from((0, 1, 2)), values, int8s, int8s)
def test_the_mask_is_the_hosts(codec: int, y: np.ndarray, low: int, high: int) -> None:
    _, lib = library()
    mask = mask_of(codec, low, high)
    found = [bool(lib.cl_mask_has(mask, int(value))) for value in y]
    assert found == tensors.masked(y, codec, low, high).tolist()


@given(gradient_codecs, activation_codecs, values, int8s, int8s, st.data())
def test_gradients_cross_both_ways(
    codec: int, activation_codec: int, y: np.ndarray, low: int, high: int, data: st.DataObject
) -> None:
    ffi, lib = library()
    limit = tensors.GRADIENT_LIMITS[codec]
    g = np.array(data.draw(st.lists(st.integers(-limit, limit), min_size=y.size, max_size=y.size)), np.int8)
    masked = tensors.masked(y, activation_codec, low, high)
    mask = mask_of(activation_codec, low, high)
    sent = tensors.gradient_data(g, masked, codec)
    assert lib.cl_codec_gradient_bytes(codec, mask, pointer(y), y.size) == len(sent)

    packed = ffi.new("uint8_t[]", len(sent) + 1)
    result = lib.cl_codec_gradient_encode(codec, mask, pointer(y), y.size, pointer(g), packed, len(sent))
    assert bytes(ffi.buffer(packed, result)) == sent

    # In two parts, as rows end where they will.
    cut = data.draw(st.integers(0, y.size))
    out, code = np.full_like(y, 99), ffi.new("uint32_t *")
    for part in (slice(0, cut), slice(cut, None)):
        piece, expanded = y[part].copy(), np.full_like(y[part], 99)
        result = lib.cl_codec_gradient_decode(
            codec, mask, pointer(piece), piece.size, sent, code, pointer(expanded)
        )
        assert result == 0
        out[part] = expanded
    assert np.array_equal(out, np.where(masked, 0, g))


@pytest.mark.parametrize(("codec", "lowest"), [(0, -128), (1, -8), (2, -2)])
def test_the_lowest_value_of_a_width_is_refused(codec: int, lowest: int) -> None:
    ffi, lib = library()
    mask, y = mask_of(0, -128, 127), np.zeros(1, np.int8)
    out, code = np.zeros(1, np.int8), ffi.new("uint32_t *")
    data = bytes([lowest & (0xFF >> (8 - (8 >> codec)))])
    assert lib.cl_codec_gradient_decode(codec, mask, pointer(y), 1, data, code, pointer(out)) == ERROR_VALUE
    g = np.array([lowest], np.int8)
    packed = ffi.new("uint8_t[]", 1)
    result = lib.cl_codec_gradient_encode(codec, mask, pointer(y), 1, pointer(g), packed, 1)
    assert result == ERROR_VALUE


def test_which_codecs_there_are() -> None:
    _, lib = library()
    assert [c for c in range(256) if lib.cl_codec_is_activation(c)] == list(ACTIVATION_CODECS)
    assert [c for c in range(256) if lib.cl_codec_is_gradient(c)] == list(GRADIENT_CODECS)
