"""A transport: a byte pipe to one board.

It may lose, mangle or cut bytes anywhere: the link above puts that right. It must not reorder them.
"""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A byte pipe to one board. One task reads and one task writes, at the same time."""

    @property
    def url(self) -> str:
        """Names the pipe to a person: what `open_transport` took, or who connected."""
        ...

    async def read(self, max_bytes: int) -> bytes:
        """Waits for bytes and returns 1 to `max_bytes` of them, or b"" once the pipe is closed.

        Cancelling it loses no byte.

        Raises:
            TransportError: the pipe broke.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Takes all of `data`; waits while the pipe is too full for more.

        Raises:
            TransportError: the pipe broke or is closed.
        """
        ...

    async def close(self) -> None:
        """Closes the pipe. Closing twice is no error."""
        ...
