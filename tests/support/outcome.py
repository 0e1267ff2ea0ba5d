"""The outcome of a call that may be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cutlayer_host.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def taken(decode: Callable[[], T]) -> tuple[T | None, int]:
    """What comes of a call and 0, or None and the code of its refusal."""
    try:
        return decode(), 0
    except ProtocolError as error:
        return None, error.code
