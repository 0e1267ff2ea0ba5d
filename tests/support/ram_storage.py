"""A board's storage in memory that loses its power, or fails, after so many bytes."""

from __future__ import annotations

import random
from typing import Any

STORAGE_ERROR = -400
ERASED = 0xFF


class RamStorage:
    """`struct cl_storage` over a bytearray.

    budget: bytes that may still be written or erased; at 0 the byte under way gets any value, and all later
        calls fail. None: no limit.
    fails: every write and erase fails and changes nothing.
    written: bytes written and erased so far.
    reads: so many there were; from number `rots_after` on, what is read has a wrong bit.
    """

    def __init__(
        self,
        ffi: Any,
        count: int,
        *,
        block_bytes: int = 0,
        erasable: bool = False,
        seed: int = 0,
        data: bytes = b"",
    ) -> None:
        self.data = bytearray(data.ljust(count, bytes([ERASED])))
        self.budget: int | None = None
        self.fails = False
        self.written = self.reads = 0
        self.rots_after: int | None = None
        self._ffi = ffi
        self._random = random.Random(seed)
        self._erasable = erasable
        self._keep = [
            ffi.callback("int32_t(void *, uint32_t, void *, uint32_t)", self._read),
            ffi.callback("int32_t(void *, uint32_t, const void *, uint32_t)", self._write),
            ffi.callback("int32_t(void *, uint32_t, uint32_t)", self._erase),
        ]
        read, write, erase = self._keep
        fields = {"read": read, "write": write, "bytes": count, "block_bytes": block_bytes}
        self.storage = ffi.new("struct cl_storage *", fields | ({"erase": erase} if erasable else {}))

    def _read(self, _: Any, offset: int, data: Any, count: int) -> int:
        assert offset + count <= len(self.data)
        there = bytearray(self.data[offset : offset + count])
        self.reads += 1
        if self.rots_after is not None and self.reads > self.rots_after:
            there[0] ^= 1
        self._ffi.memmove(data, bytes(there), count)
        return 0

    def _write(self, _: Any, offset: int, data: Any, count: int) -> int:
        assert offset % 8 == 0
        assert count % 8 == 0
        there = self.data[offset : offset + count]
        assert not self._erasable or there == bytes([ERASED]) * count, "written twice without an erase"
        return self._put(offset, bytes(self._ffi.buffer(data, count)))

    def _erase(self, _: Any, offset: int, count: int) -> int:
        block = self.storage.block_bytes or 8
        assert offset % block == 0
        assert count == block
        return self._put(offset, bytes([ERASED]) * count)

    def _put(self, offset: int, data: bytes) -> int:
        assert offset + len(data) <= len(self.data)
        if self.fails:
            return STORAGE_ERROR
        if self.budget is None or len(data) <= self.budget:
            self.data[offset : offset + len(data)] = data
            self.written += len(data)
            self.budget = None if self.budget is None else self.budget - len(data)
            return 0
        self.data[offset : offset + self.budget] = data[: self.budget]
        self.data[offset + self.budget] = self._random.randrange(256)
        self.fails = True
        return STORAGE_ERROR
