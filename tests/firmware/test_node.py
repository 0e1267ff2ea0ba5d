"""A whole node in C against the host's session, over lines with faults, in virtual time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lines import FAULTS
from node_board import NodeBoard, pointwise_layer
from node_line import GRADIENT_SCALE, RATE, Bench, large_layer, sgd, small_layer, weights_of
from train_reference import Config, F, Reference

from cutlayer_boards import spec as boards
from cutlayer_host.bench_link import board_parameters
from cutlayer_host.board_messages import Applied, DataRead, StatsAre
from cutlayer_host.body import Parameters
from cutlayer_host.codes import ACTIVATION_CODECS, GRADIENT_CODECS, Optimizer, Section
from cutlayer_host.line import Faults
from cutlayer_host.session import Refused
from cutlayer_host.smashed_data import SmashedData

ERROR_ARGUMENT, ERROR_MEMORY = -1, -2


@pytest.mark.parametrize("gradient_codec", GRADIENT_CODECS)
@pytest.mark.parametrize("activation_codec", ACTIVATION_CODECS)
def test_training_is_the_references_in_every_codec(activation_codec: int, gradient_codec: int) -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure(activation_codec=activation_codec, gradient_codec=gradient_codec)
    reference = sgd(bench.layer)
    for step in range(1, 4):
        bench.train_step(reference, step)
    assert np.array_equal(bench.board.master(), weights_of(reference))


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("activation", ["relu", "relu6", "none"])
def test_training_is_the_references_on_every_line(activation: str, faults: str) -> None:
    layer = pointwise_layer(np.random.default_rng(4), 12, 10, 8, 64, activation)
    bench = Bench(layer, FAULTS[faults], seed=1)
    bench.connect()
    bench.configure(activation_codec=16, optimizer=Optimizer.ADAM, beta2=0.999, epsilon=1e-7)
    reference = Reference(layer, Config("adam", F(0.9)))
    for step in range(1, 5):
        bench.train_step(reference, step)
    assert np.array_equal(bench.board.master(), weights_of(reference))
    suffered = bench.line.to_host.faults + bench.line.to_board.faults
    assert (suffered == 0) == (faults == "clean")


def test_requests_may_be_queued_one_behind_the_other() -> None:
    bench = Bench(large_layer(), step_ms=5.0, receive_bytes=1500)
    bench.connect()
    bench.configure()
    smashed = bench.sample(1, 1)
    bench.host.gradient(smashed, np.ones(smashed.values.size, np.int8), GRADIENT_SCALE)
    for offset in range(0, 2000, 500):
        bench.host.read(Section.MASTER, offset, 500)
    before = bench.board.master().tobytes()
    bench.host.apply(1, 1, RATE)
    for number in range(2, 8):
        bench.host.sample(number, number % 5, train=False)
    bench.host.stats()
    answers = [bench.event() for _ in range(4 + 1 + 6 + 1)]
    kinds = [type(answer) for answer in answers]
    assert kinds == [DataRead] * 4 + [Applied] + [SmashedData] * 6 + [StatsAre]
    # What was read before the step shows the weights before it, however late its frames were sent.
    assert b"".join(answer.data for answer in answers[:4]) == before[:2000]
    assert bench.board.master().tobytes() != before
    assert bench.end.overflow == 0


def test_reads_show_the_weights_of_their_time_even_when_sent_again() -> None:
    faults = Faults(loss=0.2, corruption=0.1)
    bench = Bench(large_layer(), faults, seed=3)
    bench.connect()
    bench.configure()
    for step in range(1, 6):
        smashed = bench.sample(step, 1)
        bench.host.gradient(smashed, np.ones(smashed.values.size, np.int8), GRADIENT_SCALE)
        for offset in range(0, 2000, 500):
            bench.host.read(Section.MASTER, offset, 500)
        before = bench.board.master().tobytes()
        bench.host.apply(step, 1, RATE)
        read = b"".join(bench.event().data for _ in range(4))
        assert read == before[:2000]
        assert isinstance(bench.event(), Applied)


def test_a_sample_in_place_of_a_gradient_drops_the_first() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    bench.sample(5, 1)
    reference = sgd(bench.layer)
    bench.train_step(reference, 1)
    assert np.array_equal(bench.board.master(), weights_of(reference))


def test_counters() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    bench.train_step(sgd(bench.layer), 1, samples=3)
    bench.host.sample(9, 99, train=False)
    assert isinstance(bench.event(), Refused)
    bench.host.stats()
    counters = bench.event().named()
    assert counters["samples_captured"] == counters["gradients_added"] == 3
    assert counters["steps_applied"] == counters["messages_refused"] == 1
    assert (counters["stack_bytes"], counters["memory_bytes"]) == (4321, bench.board.bytes)
    assert counters["frames_malformed"] == 0
    assert 0 < counters["bytes_sent"] <= bench.line.to_host.sent_bytes
    assert 0 < counters["bytes_received"] <= bench.line.to_board.sent_bytes
    for name in ("sensor_ticks", "accumulate_ticks", "apply_ticks"):
        assert counters[name] > 0


def test_ticks_are_those_of_the_last_sample() -> None:
    bench = Bench(small_layer(), sensor_steps=4)
    bench.connect()
    bench.configure()
    for number in range(3):
        bench.sample(number, number)
        bench.host.stats()
        counters = bench.event().named()
        # A tick is a call: one between the two ends of the start, of each step of the sensor, of each op
        # and of each message with the smashed data.
        assert (counters["sensor_ticks"], counters["head_ticks"]) == (5, 2 + 2)


def test_the_wire_is_told_from_the_receive_ring() -> None:
    for receive_bytes, max_payload in [(8192, 520), (720, 520), (719, 519), (326, 128)]:
        bench = Bench(small_layer(), receive_bytes=receive_bytes)
        bench.connect()
        assert bench.host.link.peer is not None
        assert bench.host.link.peer.max_payload == max_payload
        assert bench.host.link.peer.window_bytes == receive_bytes - 180
    recordings = np.zeros((1, 5, 7, 6), np.int8)
    assert NodeBoard(small_layer(), recordings, receive_bytes=325).init_result == ERROR_ARGUMENT


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("receive_bytes", [1024, 2048, 3072, 8192])
def test_the_benchmark_measures_the_node_as_it_is(receive_bytes: int, sealed: bool) -> None:
    board = NodeBoard(small_layer(), np.zeros((1, 5, 7, 6), np.int8), receive_bytes=receive_bytes)
    if sealed:
        guard = board.ffi.new("struct cl_guard *")
        board.config.guard = guard
        assert board.lib.cl_node_init(board.node, board.config) > 0
    link = board.node.link.config
    found = Parameters(link.max_payload, link.window_bytes, link.window_frames)
    spec = replace(boards.board("qemu_mps2_an386"), receive_bytes=receive_bytes)
    assert found == board_parameters(spec, sealed=sealed)


def test_what_init_refuses() -> None:
    layer, recordings = small_layer(), np.zeros((1, 5, 7, 6), np.int8)
    needed = NodeBoard(layer, recordings).bytes
    assert NodeBoard(layer, recordings, memory_bytes=needed).init_result == needed
    assert NodeBoard(layer, recordings, memory_bytes=needed - 1).init_result == ERROR_MEMORY
    board = NodeBoard(layer, recordings)
    for field in ("port", "model", "sensor"):
        config = board.ffi.new("struct cl_node_config *", board.config[0])
        setattr(config, field, board.ffi.NULL)
        assert board.lib.cl_node_init(board.node, config) == ERROR_ARGUMENT
    config = board.ffi.new("struct cl_node_config *", board.config[0])
    config.memory = board.memory + 8
    assert board.lib.cl_node_init(board.node, config) == ERROR_ARGUMENT
    config.memory = board.ffi.NULL
    assert board.lib.cl_node_init(board.node, config) == ERROR_MEMORY


def test_many_nodes_in_one_process() -> None:
    benches = [Bench(small_layer(), seed=seed) for seed in range(5)]
    references = [sgd(bench.layer) for bench in benches]
    for bench in benches:
        bench.connect()
        bench.configure()
    for step in (1, 2):
        for bench, reference in zip(benches, references, strict=True):
            bench.train_step(reference, step)
    weights = {bench.board.master().tobytes() for bench in benches}
    assert len(weights) == len(benches)
