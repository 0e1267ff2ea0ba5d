"""Transports that misbehave do so as asked, the same way each time, and count it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutlayer_host.transports import MemoryTransport, memory_pair
from cutlayer_host.transports.faulty import CutTransport, FaultRates, FaultyTransport, MuteTransport

FRAMES = [bytes([1 + number % 250]) * 9 + b"\0" for number in range(2000)]
CAPACITY = 1 << 20


async def send_down(rates: FaultRates, parts: list[bytes]) -> tuple[bytes, FaultyTransport]:
    """What arrives at the board of `parts`."""
    host, board = memory_pair(capacity_bytes=CAPACITY)
    faulty = FaultyTransport(host, rates)
    for part in parts:
        await faulty.write(part)
    await faulty.close()
    return await read_all(board), faulty


async def send_up(rates: FaultRates, data: bytes, read_bytes: int) -> tuple[bytes, FaultyTransport]:
    """What arrives at the host of `data`, read `read_bytes` at a time."""
    host, board = memory_pair(capacity_bytes=CAPACITY)
    faulty = FaultyTransport(host, rates)
    await board.write(data)
    await board.close()
    return await read_all(faulty, read_bytes), faulty


async def read_all(transport: MemoryTransport | FaultyTransport, read_bytes: int = 100) -> bytes:
    data = b""
    while part := await transport.read(read_bytes):
        assert len(part) <= read_bytes
        data += part
    return data


@pytest.mark.parametrize("way", ["up", "down"])
async def test_faults_are_as_many_as_asked_and_counted_by_kind(way: str) -> None:
    rates = FaultRates(loss=0.05, corruption=0.1, seed=4)
    if way == "up":
        arrived, faulty = await send_up(rates, b"".join(FRAMES), 777)
    else:
        arrived, faulty = await send_down(rates, FRAMES)
    counts = faulty.counts
    assert counts.frames == len(FRAMES)
    assert 60 < counts.lost < 140
    assert 140 < counts.corrupted < 260
    assert len(arrived) == 10 * (counts.frames - counts.lost)
    # What arrives unharmed is in order: a transport never reorders.
    whole = [frame for frame in FRAMES if frame in arrived]
    assert len(whole) >= counts.frames - counts.lost - 2 * counts.corrupted


async def test_the_same_seed_makes_the_same_faults() -> None:
    def down(seed: int) -> bytes:
        return asyncio.run(send_down(FaultRates(0.1, 0.1, seed), FRAMES))[0]

    first, again, other = await asyncio.gather(*(asyncio.to_thread(down, seed) for seed in (1, 1, 2)))
    assert first == again != other


async def test_a_corrupted_frame_differs_in_one_bit() -> None:
    arrived, faulty = await send_down(FaultRates(corruption=1.0), FRAMES)
    assert faulty.counts.corrupted == len(FRAMES)
    for number, frame in enumerate(FRAMES):
        came = arrived[10 * number : 10 * number + 10]
        differing = sum((a ^ b).bit_count() for a, b in zip(frame, came, strict=True))
        assert differing == 1


async def test_empty_frames_pass_uncounted() -> None:
    arrived, faulty = await send_down(FaultRates(loss=1.0), [b"\0\0", b"\0"])
    assert (arrived, faulty.counts.frames) == (b"\0\0\0", 0)


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 40))
def test_without_faults_every_whole_frame_passes_however_it_is_cut(
    parts: list[bytes], read_bytes: int
) -> None:
    data = b"".join(parts)
    whole = data[: data.rfind(b"\0") + 1]
    assert asyncio.run(send_down(FaultRates(), parts))[0] == whole
    assert asyncio.run(send_up(FaultRates(), data, read_bytes))[0] == whole


async def test_a_cut_pipe_closes_after_its_bytes() -> None:
    host, board = memory_pair()
    cut = CutTransport(host, 5)
    await board.write(b"12345678")
    assert await cut.read(3) == b"123"
    assert await cut.read(9) == b"45"
    assert await cut.read(9) == b""
    assert cut.url == host.url


async def test_a_mute_pipe_neither_gives_nor_takes() -> None:
    host, board = memory_pair()
    mute = MuteTransport(host)
    await mute.write(b"heard")
    mute.muted = True
    await mute.write(b"unheard")
    await board.write(b"answer")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(mute.read(9), 0.02)
    await mute.close()
    assert await board.read(99) == b"heard"
    assert await board.read(99) == b""


async def test_frames_come_twice_or_late() -> None:
    arrived, faulty = await send_down(FaultRates(duplication=0.1, reordering=0.1, seed=5), FRAMES)
    counts = faulty.counts
    assert 140 < counts.duplicated < 260
    assert 140 < counts.reordered < 260
    assert (counts.lost, counts.corrupted) == (0, 0)
    # At most one frame is still held back in the end.
    assert 0 <= 10 * (len(FRAMES) + counts.duplicated) - len(arrived) <= 10
    frames = [frame + b"\0" for frame in arrived.split(b"\0")[:-1]]
    places = [FRAMES.index(frame) for frame in frames[:200]]
    assert places != sorted(places)
    assert all(abs(place - index) < 60 for index, place in enumerate(places))
