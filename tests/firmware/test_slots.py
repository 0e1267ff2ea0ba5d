"""Records in two slots: whatever a power cut leaves, the newest whole record is found."""

from __future__ import annotations

import random
import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from core import SOURCE, core_library
from ram_storage import STORAGE_ERROR, RamStorage

from cutlayer_boards.errors import BoardError
from cutlayer_boards.keys import DeviceKey
from cutlayer_boards.storage import read_key, write_key
from cutlayer_host.codes import ErrorCode

if TYPE_CHECKING:
    from pathlib import Path

HEADER_BYTES = 24
KEY, TRAIN = 0x314B4C43, 0x31544C43
STORAGE_BYTES = 4096
# Media that need no erase; flash with blocks shorter and longer than the records.
MEDIA: list[dict[str, Any]] = [
    {},
    {"erasable": True, "block_bytes": 64},
    {"erasable": True, "block_bytes": 512},
]


@cache
def library() -> tuple[Any, Any]:
    return core_library([SOURCE / "slots.c", SOURCE / "frame.c"], ["cutlayer/slots.h"])


def ram(**options: Any) -> RamStorage:
    return RamStorage(library()[0], STORAGE_BYTES, **options)


class Slots:
    """As after a start: only what the storage holds is known."""

    def __init__(self, storage: RamStorage, kind: int = TRAIN) -> None:
        self.ffi, self.lib = library()
        self.slots = self.ffi.new("struct cl_slots *")
        self.opened = self.lib.cl_slots_open(self.slots, storage.storage, kind)

    def put(self, body: bytes, piece: int = 64, kept: int = -1) -> int:
        """Writes a record. Returns its slot or the error."""
        result = self.lib.cl_slots_begin(self.slots, kept, len(body))
        while result == 0:
            result = self.lib.cl_slots_erase(self.slots)
        for at in range(0, len(body), piece):
            if result < 0:
                break
            part = body[at : at + piece]
            result = self.lib.cl_slots_write(
                self.slots, self.ffi.new("uint8_t[]", part + bytes(8)), len(part)
            )
        return int(result) if result < 0 else int(self.lib.cl_slots_commit(self.slots))

    def get(self, slot: int) -> bytes | None:
        record = self.slots.slots[slot]
        if not record.is_good:
            return None
        body = self.ffi.new("uint8_t[]", record.body_bytes + 1)
        assert self.lib.cl_slots_read(self.slots, slot, 0, body, record.body_bytes) == 0
        return bytes(self.ffi.buffer(body, record.body_bytes))

    @property
    def newest(self) -> bytes | None:
        slot = self.lib.cl_slots_newest(self.slots)
        return None if slot < 0 else self.get(slot)


def bodies(count: int, size: int, seed: int = 1) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(size) for _ in range(count)]


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("size", [0, 1, 8, 61, 64, 200, 700])
def test_a_power_cut_at_every_byte_leaves_the_newest_whole_record(medium: dict[str, Any], size: int) -> None:
    first, second, third, fourth = bodies(4, size)
    before = ram(**medium)
    for body in (first, second):
        assert Slots(before).put(body) >= 0
    whole = ram(**medium, data=bytes(before.data))
    assert Slots(whole).put(third) >= 0
    for cut in range(whole.written + 1):
        storage = ram(**medium, data=bytes(before.data), seed=cut)
        storage.budget = cut
        result = Slots(storage).put(third)
        assert result == (0 if cut == whole.written else STORAGE_ERROR)
        storage.budget, storage.fails = None, False
        after = Slots(storage)
        assert after.newest == (third if cut == whole.written else second)
        assert after.put(fourth) >= 0
        assert Slots(storage).newest == fourth
        assert Slots(storage).get(0 if cut < whole.written else 1) == fourth


@pytest.mark.parametrize("medium", MEDIA)
def test_a_cut_of_the_first_record_leaves_none(medium: dict[str, Any]) -> None:
    (body,) = bodies(1, 100)
    whole = ram(**medium)
    assert Slots(whole).put(body) == 0
    for cut in range(whole.written):
        storage = ram(**medium, seed=cut)
        storage.budget = cut
        assert Slots(storage).put(body) == STORAGE_ERROR
        assert Slots(storage).newest is None


def test_slots_are_written_in_turn_and_counted() -> None:
    storage = ram()
    slots = Slots(storage)
    for number, body in enumerate(bodies(5, 30)):
        assert slots.put(body) == number % 2
        assert slots.slots.sequence == number + 1
        assert Slots(storage).newest == body
    assert Slots(storage).slots.sequence == 5


def test_sequences_wrap() -> None:
    storage = ram()
    slots = Slots(storage)
    slots.slots.sequence = 2**32 - 3
    for number, body in enumerate(bodies(6, 30)):
        assert slots.put(body) == number % 2
        after = Slots(storage)
        assert after.newest == body
        assert after.slots.sequence == (2**32 - 2 + number) % 2**32


@pytest.mark.parametrize("size", [0, 5, 64])
def test_any_flipped_bit_spoils_its_own_record_only(size: int) -> None:
    first, second = bodies(2, size)
    storage = ram()
    for body in (first, second):
        Slots(storage).put(body)
    start = 256 + (STORAGE_BYTES - 256) // 2
    for place in range(HEADER_BYTES + size):
        for bit in range(8):
            storage.data[start + place] ^= 1 << bit
            assert Slots(storage).newest == first, (place, bit)
            storage.data[start + place] ^= 1 << bit
    assert Slots(storage).newest == second


def test_a_header_that_is_right_but_for_its_body_is_refused() -> None:
    storage = ram()
    longest = (STORAGE_BYTES - 256) // 2 - HEADER_BYTES
    for kind, body_bytes in ((KEY, 0), (TRAIN, longest + 1), (TRAIN, 2**32 - 1)):
        header = struct.pack("<IIIII", kind, 1, body_bytes, zlib.crc32(bytes(0)), 0)
        storage.data[256 : 256 + HEADER_BYTES] = header + struct.pack("<I", zlib.crc32(header))
        assert Slots(storage).newest is None


def test_both_slots_bad_is_as_new() -> None:
    storage = ram(data=random.Random(3).randbytes(STORAGE_BYTES))
    slots = Slots(storage)
    assert slots.newest is None
    assert slots.put(b"afresh") == 0
    assert Slots(storage).newest == b"afresh"


def test_a_rejected_record_is_overwritten_first() -> None:
    storage = ram()
    for body in (b"ours", b"of another model"):
        Slots(storage).put(body)
    slots = Slots(storage)
    slots.lib.cl_slots_reject(slots.slots, 1)
    assert slots.newest == b"ours"
    assert slots.put(b"ours again") == 1
    assert slots.slots.sequence == 3
    assert Slots(storage).newest == b"ours again"


def test_a_slot_in_use_is_kept_though_the_other_is_newer() -> None:
    storage = ram()
    for body in (b"in use", b"newer"):
        Slots(storage).put(body)
    assert Slots(storage).put(b"newest", kept=0) == 1
    slots = Slots(storage)
    assert (slots.get(0), slots.newest) == (b"in use", b"newest")
    slots.lib.cl_slots_reject(slots.slots, 0)
    assert slots.put(b"over what is no good", kept=0) == 0


def test_keys_and_training_have_places_of_their_own() -> None:
    storage = ram(erasable=True, block_bytes=256)
    for body in (b"train one", b"train two"):
        assert Slots(storage).put(body) >= 0
    for body in (b"key one", b"key two", b"key three"):
        assert Slots(storage, KEY).put(body) >= 0
    assert Slots(storage).newest == b"train two"
    assert Slots(storage, KEY).newest == b"key three"
    assert Slots(storage, KEY).slots.slot_bytes == 256
    assert (Slots(storage).slots.offset, Slots(storage).slots.slot_bytes) == (512, 1792)


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    storage = ram()
    slots = Slots(storage)
    longest = slots.slots.slot_bytes - HEADER_BYTES
    assert slots.put(bytes(longest)) == 0
    assert slots.put(bytes(longest + 1)) == ErrorCode.STORAGE
    assert slots.newest == bytes(longest)
    assert Slots(RamStorage(library()[0], 255)).opened == ErrorCode.STORAGE
    tiny = Slots(RamStorage(library()[0], 256 + 2 * HEADER_BYTES - 1))
    assert tiny.opened == ErrorCode.STORAGE
    assert tiny.put(b"") == ErrorCode.STORAGE


def test_a_body_is_written_whole_and_no_further() -> None:
    slots = Slots(ram())
    data = slots.ffi.new("uint8_t[]", 32)
    assert slots.lib.cl_slots_begin(slots.slots, -1, 12) == 0
    assert slots.lib.cl_slots_erase(slots.slots) == 1
    assert slots.lib.cl_slots_write(slots.slots, data, 13) == ErrorCode.ARGUMENT
    assert slots.lib.cl_slots_write(slots.slots, data, 8) == 0
    assert slots.lib.cl_slots_commit(slots.slots) == ErrorCode.ARGUMENT
    assert slots.lib.cl_slots_write(slots.slots, data, 4) == 0
    assert slots.lib.cl_slots_commit(slots.slots) == 0


def test_a_read_beyond_the_body_is_refused() -> None:
    slots = Slots(ram())
    assert slots.put(b"12345") == 0
    data = slots.ffi.new("uint8_t[]", 8)
    for slot, offset, count in ((0, 0, 6), (0, 6, 0), (0, 2**32 - 1, 2), (1, 0, 0)):
        assert slots.lib.cl_slots_read(slots.slots, slot, offset, data, count) == ErrorCode.STORAGE
    assert slots.lib.cl_slots_read(slots.slots, 0, 3, data, 2) == 0
    assert bytes(slots.ffi.buffer(data, 2)) == b"45"


def test_a_key_that_python_writes_is_what_the_firmware_reads(tmp_path: Path) -> None:
    path = tmp_path / "storage"
    for number in range(1, 6):
        key = DeviceKey(bytes([number] * 8), bytes([0x80 + number] * 32))
        write_key(path, key)
        assert read_key(path) == key
        slots = Slots(ram(data=path.read_bytes()), KEY)
        assert slots.newest == key.device_id + key.secret
        assert slots.slots.sequence == number
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("sequence", [0, 2**32 - 2])
def test_python_goes_on_where_the_firmware_wrote(tmp_path: Path, sequence: int) -> None:
    storage = ram()
    assert Slots(storage).put(b"what was learned") == 0
    slots = Slots(storage, KEY)
    slots.slots.sequence = sequence
    for number in range(1, 4):
        assert slots.put(bytes([number] * 40)) >= 0
        path = tmp_path / f"storage {number}"
        path.write_bytes(storage.data)
        assert read_key(path) == DeviceKey(bytes([number] * 8), bytes([number] * 32))
        write_key(path, DeviceKey(bytes(8), bytes(32)))
        after = ram(data=path.read_bytes())
        assert Slots(after, KEY).newest == bytes(40)
        assert read_key(path) is None
        assert Slots(after).newest == b"what was learned"
    assert slots.put(b"") >= 0
    path.write_bytes(storage.data)
    assert read_key(path) is None


def test_a_storage_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="cannot be read"):
        read_key(tmp_path / "none")
    with pytest.raises(BoardError, match="cannot be written"):
        write_key(tmp_path, DeviceKey(bytes(8), bytes(32)))
    (tmp_path / "short").write_bytes(b"short")
    assert read_key(tmp_path / "short") is None
