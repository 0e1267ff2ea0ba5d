"""A whole node in C and its port: bytes that pile up, a pipe that is full or broken, when to come back."""

from __future__ import annotations

import numpy as np
import pytest
from node_board import PORT_ERROR
from node_line import GRADIENT_SCALE, LIMIT_MS, Bench, large_layer, sgd, small_layer

from cutlayer_host.board_messages import StatsAre


@pytest.mark.parametrize("receive_bytes", [400, 1500, 4096])
def test_a_busy_board_never_loses_a_byte(receive_bytes: int) -> None:
    # Every step of the node takes longer than the host's shortest time-out, and messages queue behind it.
    bench = Bench(large_layer(), step_ms=60.0, receive_bytes=receive_bytes)
    bench.connect()
    bench.configure()
    reference = sgd(bench.layer)
    for step in range(1, 3):
        bench.train_step(reference, step)
    assert bench.end.overflow == 0
    assert bench.board.node.link.frames_malformed == 0


def test_a_step_of_the_node_is_one_piece_of_work() -> None:
    bench = Bench(small_layer(), sensor_steps=4, step_ms=1.0)
    bench.connect()
    bench.configure()
    bench.rest()
    bench.host.sample(1, 1, train=True)
    bench.board.received += bench.host.transmit(bench.line.now_ms)
    steps = []
    while bench.board.state != "SENDING":
        assert bench.board.step() == 0
        steps.append(bench.board.ops)
    # Taking the message and starting the sensor; four times the sensor; two ops.
    assert len(steps) == 1 + 4 + 2
    assert steps[-3:] == [0, 1, 1]


def test_an_idle_node_says_when_to_come_back() -> None:
    bench = Bench(small_layer())
    assert bench.board.run() == 1000  # nothing to wait for
    bench.connect()
    bench.rest()
    bench.line.run(lambda: True, LIMIT_MS)
    bench.host.stats()
    bench.board.received += bench.host.transmit(bench.line.now_ms)
    timeout_ms = bench.board.run()
    assert 0 < timeout_ms <= 1000  # until STATS_ARE has to be sent again


def test_a_port_that_takes_nothing_is_asked_again() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.rest()
    bench.host.stats()
    bench.board.received += bench.host.transmit(bench.line.now_ms)
    bench.board.room = 0
    assert bench.board.run() == 1
    assert not bench.board.sent
    bench.board.room = 5
    assert bench.board.run() == 1
    assert len(bench.board.sent) == 5
    bench.board.room = 1 << 20
    assert bench.board.run() > 1
    events = bench.host.receive(bytes(bench.board.sent), bench.line.now_ms)
    assert isinstance(events[0], StatsAre)


@pytest.mark.parametrize("written", [0, 7])
def test_a_broken_pipe_is_told_and_survived(written: int) -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    bench.rest()
    bench.host.stats()
    bench.board.received += bench.host.transmit(bench.line.now_ms)
    bench.board.room = written
    bench.board.run()
    bench.board.broken = True
    assert bench.board.step() == PORT_ERROR
    bench.board.broken = False
    bench.board.sent.clear()  # the pipe took it along
    # The connection is still there: the answer is sent again.
    assert isinstance(bench.event(), StatsAre)
    assert bench.host.link.decoder.counters.malformed == 0


def test_long_work_does_not_hold_up_the_acknowledgement() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    smashed = bench.sample(1, 1)
    bench.rest()
    bench.board.run()
    bench.board.sent.clear()
    sent_at_ticks = []

    def tick() -> None:
        sent_at_ticks.append(len(bench.board.sent))

    bench.board.on_tick = tick
    bench.host.gradient(smashed, np.ones(smashed.values.size, np.int8), GRADIENT_SCALE)
    bench.board.received += bench.host.transmit(bench.line.now_ms)
    bench.board.run()
    # At GRADIENT, before its PIECE is added and after: by then both have been acknowledged.
    assert sent_at_ticks == [0, 36, 36]
