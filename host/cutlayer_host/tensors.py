"""Codecs of tensors: the data of PIECEs (SPEC.md, section 3.3).

A codec is `width + 16 * zero_suppressed`; width 0 is int8, 1 is int4, 2 is int2. Arrays are flat. An element
is *masked* when its activation, as sent, sits at a clamped end of its range: it has no gradient, and none is
sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cutlayer_host.codes import ErrorCode, Kind
from cutlayer_host.errors import ProtocolError
from cutlayer_host.message import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Int8: TypeAlias = NDArray[np.int8]
    Codes: TypeAlias = NDArray[np.uint8]
    Mask: TypeAlias = NDArray[np.bool_]

INT8, INT4, INT2 = 0, 1, 2
ZERO_SUPPRESSED = 16
GRADIENT_LIMITS = {INT8: 127, INT4: 7, INT2: 1}
PIECE_COUNT_MAX = 0xFFFF

_BITS = {INT8: 8, INT4: 4, INT2: 2}
_STEPS = {INT8: 1, INT4: 17, INT2: 85}


def _code_tables() -> tuple[dict[int, Codes], dict[int, Int8]]:
    """For each width: y as its unsigned byte to u, and u to y'."""
    values = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32)
    codes, sent = {}, {}
    for width, step in _STEPS.items():
        codes[width] = ((values + 128 + step // 2) // step).astype(np.uint8)
        sent[width] = (np.arange(1 << _BITS[width]) * step - 128).astype(np.int8)
    return codes, sent


_CODES, _SENT = _code_tables()


def lossless(codec: int) -> bool:
    """Whether activations arrive as they were."""
    return _width(codec) == INT8


def as_sent(values: Int8, codec: int) -> Int8:
    """What the other side gets to see of `values`: y' of y."""
    width = _width(codec)
    return np.take(_SENT[width], np.take(_CODES[width], values.view(np.uint8)))


def masked(values: Int8, codec: int, activation_min: int, activation_max: int) -> Mask:
    """True for the elements without gradient. y and y' give the same mask."""
    codes = _CODES[_width(codec)]
    clamped = (codes == codes[activation_min & 0xFF]) | (codes == codes[activation_max & 0xFF])
    return np.take(clamped, values.view(np.uint8))


def activation_data(values: Int8, codec: int, zero_point: int) -> bytes:
    """The data of one PIECE of activations."""
    width = _width(codec)
    codes = _CODES[width][values.view(np.uint8)]
    if codec < ZERO_SUPPRESSED:
        return _pack(codes, width)
    shown = codes != _CODES[width][zero_point & 0xFF]
    return np.packbits(shown, bitorder="little").tobytes() + _pack(codes[shown], width)


def activation_values(data: bytes, count: int, codec: int, zero_point: int) -> Int8:
    """The `count` elements of one PIECE, y'. Raises ProtocolError(LENGTH)."""
    width = _width(codec)
    if codec < ZERO_SUPPRESSED:
        return np.take(_SENT[width], _unpack(data, count, width))
    bitmap_bytes = (count + 7) // 8
    if len(data) < bitmap_bytes:
        raise _wrong_length(data, bitmap_bytes)
    bitmap = np.frombuffer(data, np.uint8, bitmap_bytes)
    shown = np.unpackbits(bitmap, count=count, bitorder="little").view(np.bool_)
    codes = np.full(count, _CODES[width][zero_point & 0xFF])
    codes[shown] = _unpack(data[bitmap_bytes:], int(np.count_nonzero(shown)), width)
    return np.take(_SENT[width], codes)


def gradient_data(values: Int8, masked: Mask, codec: int) -> bytes:
    """The data of one PIECE of a gradient. Raises ValueError for an unmasked value that the codec lacks."""
    return _pack(_gradient_codes(values[~masked], codec), codec)


def gradient_values(data: bytes, masked: Mask, codec: int) -> Int8:
    """The elements of one PIECE, g, 0 where masked. Raises ProtocolError(LENGTH or VALUE)."""
    bits = _BITS[codec]
    codes = _unpack(data, int(np.count_nonzero(~masked)), codec)
    sign = 1 << (bits - 1)
    if np.any(codes == sign):
        raise ProtocolError(
            f"a gradient of {bits} bits holds {-sign}, must be {1 - sign} to {sign - 1}",
            code=ErrorCode.VALUE,
            about=Kind.PIECE,
        )
    values = np.zeros(masked.size, np.int8)
    values[~masked] = ((codes ^ sign).astype(np.int16) - sign).astype(np.int8)
    return values


def activation_pieces(values: Int8, codec: int, zero_point: int, max_payload: int) -> Iterator[Piece]:
    """All of `values` in PIECEs of at most `max_payload` bytes, each as full as is sure to fit."""
    room = max_payload - Piece.LAYOUT.size
    bits = _BITS[_width(codec)] + (codec >= ZERO_SUPPRESSED)
    # Whole bytes of the bitmap, so that it and the codes cannot round up one byte too many.
    most = min(room * 8 // bits & ~7, PIECE_COUNT_MAX & ~7)
    for first in range(0, values.size, most):
        part = values[first : first + most]
        yield Piece(count=part.size, first=first, data=activation_data(part, codec, zero_point))


def gradient_pieces(values: Int8, masked: Mask, codec: int, max_payload: int) -> Iterator[Piece]:
    """All of `values` in as few PIECEs of at most `max_payload` bytes as there can be.

    Raises ValueError for an unmasked value that the codec lacks.
    """
    most = (max_payload - Piece.LAYOUT.size) * 8 // _BITS[codec]
    places = np.flatnonzero(~masked)
    codes = _gradient_codes(values[places], codec)
    first = sent = 0
    while first < values.size:
        # A piece ends before the first open element that does not fit any more.
        end = int(places[sent + most]) if sent + most < places.size else values.size
        end = min(end, first + PIECE_COUNT_MAX)
        until = int(np.searchsorted(places, end))
        yield Piece(count=end - first, first=first, data=_pack(codes[sent:until], codec))
        first, sent = end, until


def _width(codec: int) -> int:
    return codec & 0x0F


def _gradient_codes(values: Int8, codec: int) -> Codes:
    limit = GRADIENT_LIMITS[codec]
    if values.size and (int(values.min()) < -limit or int(values.max()) > limit):
        raise ValueError(
            f"a gradient reaches {int(values.min())} to {int(values.max())}, codec {codec} takes +-{limit}"
        )
    return values.view(np.uint8) & np.uint8((1 << _BITS[codec]) - 1)


def _pack(codes: Codes, width: int) -> bytes:
    """Codes from the low bits of each byte up, padded with 0."""
    bits = _BITS[width]
    if bits == 8:
        return codes.tobytes()
    each = 8 // bits
    padded = np.zeros(-(-codes.size // each) * each, np.uint8)
    padded[: codes.size] = codes
    packed = padded[::each].copy()
    for place in range(1, each):
        packed |= padded[place::each] << np.uint8(place * bits)
    return packed.tobytes()


def _unpack(data: bytes, count: int, width: int) -> Codes:
    bits = _BITS[width]
    length = (count * bits + 7) // 8
    if len(data) != length:
        raise _wrong_length(data, length)
    packed = np.frombuffer(data, np.uint8)
    if bits == 8:
        return packed
    each = 8 // bits
    codes = np.empty(packed.size * each, np.uint8)
    for place in range(each):
        codes[place::each] = packed >> np.uint8(place * bits) & np.uint8((1 << bits) - 1)
    return codes[:count]


def _wrong_length(data: bytes, length: int) -> ProtocolError:
    return ProtocolError(
        f"the data of a PIECE has {len(data)} bytes, must have {length}",
        code=ErrorCode.LENGTH,
        about=Kind.PIECE,
    )
