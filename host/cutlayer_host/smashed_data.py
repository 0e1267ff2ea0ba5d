"""Smashed data: activations at the cut as they were sent, and how PIECEs make them up."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host import tensors
from cutlayer_host.codes import ErrorCode
from cutlayer_host.errors import ProtocolError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cutlayer_host.board_messages import Activation
    from cutlayer_host.message import Piece


@dataclass(frozen=True, slots=True)
class SmashedData:
    """Activations at the cut, as they were sent: real value = scale * (values - zero_point)."""

    sample: int
    values: NDArray[np.int8] = field(repr=False)  # [count]
    masked: NDArray[np.bool_] = field(repr=False)  # [count], True where there is no gradient
    label: int
    scale: float
    zero_point: int
    saturated: int


class Assembly:
    """Smashed data whose PIECEs are coming."""

    def __init__(self, head: Activation) -> None:
        self._head = head
        self._values = np.empty(head.count, np.int8)
        self._filled = 0

    def take(self, piece: Piece) -> SmashedData | None:
        """The next PIECE; returns what is whole with it.

        Raises:
            ProtocolError: it is not the next, or does not hold what it says, or the whole has another CRC-32.
        """
        head, end = self._head, piece.first + piece.count
        if piece.first != self._filled or end > head.count:
            due = f"must start at {self._filled} and end below {head.count}"
            raise ProtocolError(
                f"PIECE covers {piece.first} to {end - 1}, {due}", code=ErrorCode.VALUE, about=piece.KIND
            )
        values = tensors.activation_values(piece.data, piece.count, head.codec, head.zero_point)
        self._values[piece.first : end] = values
        self._filled = end
        return self._whole() if end == head.count else None

    def _whole(self) -> SmashedData:
        head, values = self._head, self._values
        if tensors.lossless(head.codec) and (crc := zlib.crc32(values.data)) != head.crc:
            raise ProtocolError(
                f"the smashed data's CRC-32 is {crc:08X}, ACTIVATION says {head.crc:08X}",
                code=ErrorCode.VALUE,
                about=head.KIND,
            )
        mask = tensors.masked(values, head.codec, head.activation_min, head.activation_max)
        return SmashedData(head.sample, values, mask, head.label, head.scale, head.zero_point, head.saturated)
