"""A whole node in C and its sensor: what it says, what it is lent, and that no recording leaves the board."""

from __future__ import annotations

import numpy as np
import pytest
from lines import FAULTS
from node_board import SENSOR_ERROR, SENSOR_WAITS, NodeBoard
from node_line import Bench, large_layer, sgd, small_layer

from cutlayer_host.board_messages import DataRead
from cutlayer_host.codes import ErrorCode, Kind, Section, SensorCode
from cutlayer_host.session import Refused
from cutlayer_host.smashed_data import SmashedData

DEAD_MS = 10_000


def test_a_sensor_that_fails_is_an_error_with_its_code() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    bench.host.sample(1, 99, train=True)
    refused = bench.event()
    assert refused == Refused(Kind.SAMPLE, ErrorCode.SENSOR, SENSOR_ERROR % 2**32)
    bench.train_step(sgd(bench.layer), 1)


@pytest.mark.parametrize("faults", FAULTS)
def test_a_sensor_may_wait_longer_than_a_dead_link_would(faults: str) -> None:
    """The node asks it again every few ms, and keeps the link alive meanwhile."""
    bench = Bench(small_layer(), FAULTS[faults])
    bench.connect()
    bench.configure()
    asked_ms: list[float] = []

    def hear() -> int | None:
        asked_ms.append(bench.line.now_ms)
        return SENSOR_WAITS if bench.line.now_ms < asked_ms[0] + 3 * DEAD_MS else None

    bench.board.on_capture = hear
    bench.sample(1, 3)
    assert asked_ms[-1] >= asked_ms[0] + 3 * DEAD_MS
    assert max(np.diff(asked_ms)) <= 6  # SENSOR_MS of node.c, and a clock of whole milliseconds
    assert len(asked_ms) < 3 * 3 * DEAD_MS / 5  # the line pokes it too, but nobody spins
    bench.board.on_capture = lambda: None
    bench.train_step(sgd(bench.layer), 1)


@pytest.mark.parametrize("sensor_bytes", [0, 160, 5000], ids=["none", "of the arena", "beyond the arena"])
def test_what_a_sensor_is_lent_is_its_alone_and_nothing_that_counts(sensor_bytes: int) -> None:
    """It writes all over it in each sample, and trains as the reference; the link goes on meanwhile."""
    layer = small_layer()
    bench = Bench(layer, sensor_bytes=sensor_bytes, sensor_steps=500, step_ms=10.0)
    without = NodeBoard(layer, bench.recordings, sensor_bytes=0)
    head = bench.board.model.head
    beyond = -(-max(0, head.sensor_offset + sensor_bytes - head.arena_bytes) // 16) * 16
    assert bench.board.bytes == without.bytes + beyond
    bench.connect()
    bench.configure()
    reference = sgd(layer)
    for step in range(1, 4):
        bench.train_step(reference, step)
        bench.host.sample(1000 * step, 0, train=False)
        bench.host.read(Section.MASTER, 0, 100)  # arrives while the sensor works, and waits
        assert isinstance(bench.event(), SmashedData)
        assert isinstance(bench.event(), DataRead)


@pytest.mark.parametrize("faults", FAULTS)
def test_a_sensor_that_hears_nothing_says_so_and_listens_again(faults: str) -> None:
    bench = Bench(small_layer(), FAULTS[faults])
    bench.connect()
    bench.configure()
    for number in range(1, 4):
        until_ms = bench.line.now_ms + 2_000
        bench.board.on_capture = lambda until_ms=until_ms: (
            SENSOR_WAITS if bench.line.now_ms < until_ms else SensorCode.NOTHING_HEARD
        )
        bench.host.sample(number, 2, train=True)
        assert bench.event() == Refused(Kind.SAMPLE, ErrorCode.SENSOR, SensorCode.NOTHING_HEARD % 2**32)
        assert bench.line.now_ms >= until_ms
        assert bench.board.state == "READY"
    bench.board.on_capture = lambda: None
    bench.train_step(sgd(bench.layer), 1)


def test_no_recording_crosses_the_line() -> None:
    bench = Bench(large_layer())
    bench.connect()
    bench.configure()
    seen = bytearray()
    transmit = bench.end.transmit

    def listen(now_ms: float, max_bytes: int | None = None) -> bytes:
        data = transmit(now_ms, max_bytes)
        seen.extend(data)
        return data

    bench.end.transmit = listen  # type: ignore[method-assign]
    smashed = bench.sample(1, 1)
    assert len(seen) > smashed.values.size
    raw = bench.recordings[1].tobytes()
    assert not any(raw[i : i + 16] in seen for i in range(len(raw) - 16))
