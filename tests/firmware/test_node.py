"""A whole node in C against the host's session, over lines with faults, in virtual time."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lines import FAULTS
from node_board import PORT_ERROR, SENSOR_ERROR, SENSOR_WAITS, NodeBoard, NodeEnd, pointwise_layer
from train_reference import Config, F, Layer, Reference

from cutlayer_boards import spec as boards
from cutlayer_host import tensors
from cutlayer_host.bench_link import board_parameters
from cutlayer_host.board_messages import (
    Applied,
    Configured,
    DataRead,
    Forgotten,
    Provisioned,
    Restored,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.body import Parameters
from cutlayer_host.codes import (
    ACTIVATION_CODECS,
    GRADIENT_CODECS,
    ErrorCode,
    Kind,
    Optimizer,
    Section,
    SensorCode,
)
from cutlayer_host.host_messages import Configure
from cutlayer_host.line import Faults, Line
from cutlayer_host.link import Lost
from cutlayer_host.session import HostSession, Refused
from cutlayer_host.smashed_data import SmashedData

ERROR_ARGUMENT, ERROR_MEMORY = -1, -2
LIMIT_MS = 3_600_000.0
DEAD_MS = 10_000
GRADIENT_SCALE, RATE = 2e-4, 0.01


class Bench:
    """A host's session and a node on a line."""

    def __init__(
        self,
        layer: Layer,
        faults: Faults | None = None,
        *,
        step_ms: float = 0.0,
        seed: int = 0,
        baud: int = 921_600,
        **options: Any,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.layer = layer
        self.recordings = self.rng.integers(-128, 128, (5, *layer.input_shape)).astype(np.int8)
        self.board = NodeBoard(layer, self.recordings, **options)
        assert self.board.init_result > 0
        self.end = NodeEnd(self.board, step_ms)
        self.host = HostSession(rng=random.Random(seed))
        self.events: list[Any] = []
        self.line = Line(
            self.host,
            self.end,
            on_host=self.events.append,
            on_board=lambda _: None,
            baud=baud,
            faults=faults,
            seed=seed,
        )

    def connect(self) -> Welcome:
        self.host.connect(self.line.now_ms)
        welcome = self.event()
        assert isinstance(welcome, Welcome)
        return welcome

    def event(self) -> Any:
        self.line.run(lambda: bool(self.events), LIMIT_MS)
        return self.events.pop(0)

    def rest(self) -> None:
        """Runs until both sides have nothing under way."""
        self.line.run(
            lambda: self.host.link.idle and self.board.lib.cl_link_outstanding(self._link()) == 0, LIMIT_MS
        )

    def _link(self) -> Any:
        return self.board.ffi.addressof(self.board.node, "link")

    def configure(self, **fields: Any) -> None:
        fields = {"cut": 1, "optimizer": Optimizer.SGD, "momentum": 0.9, "restart": 1} | fields
        self.host.configure(Configure(**fields))
        assert isinstance(self.event(), Configured)

    def sample(self, number: int, recording: int, *, train: bool = True) -> SmashedData:
        self.host.sample(number, recording, train=train)
        smashed = self.event()
        assert isinstance(smashed, SmashedData)
        assert (smashed.sample, smashed.label) == (number, recording % 10)
        return smashed

    def train_step(self, reference: Reference, step: int, samples: int = 2) -> Applied:
        """One step on the board and in NumPy; the smashed data must be the same."""
        codec = self.host.configuration.activation_codec  # type: ignore[union-attr]
        limit = tensors.GRADIENT_LIMITS[self.host.configuration.gradient_codec]  # type: ignore[union-attr]
        saturated = 0
        for number in range(samples):
            recording = (step * samples + number) % len(self.recordings)
            smashed = self.sample(step * 100 + number, recording)
            y = reference.forward(self.recordings[recording])
            assert np.array_equal(smashed.values, tensors.as_sent(y.reshape(-1), codec & 15))
            saturated += reference.saturated(y)
            g = self.rng.integers(-limit, limit + 1, smashed.values.size).astype(np.int8)
            self.host.gradient(smashed, g, GRADIENT_SCALE)
            g[smashed.masked] = 0
            reference.accumulate(self.recordings[recording], g.reshape(-1, self.layer.channels))
        self.host.apply(step, samples, RATE)
        applied = self.event()
        reference.apply(F(GRADIENT_SCALE), F(RATE))
        assert isinstance(applied, Applied)
        assert (applied.step, applied.saturated) == (step, saturated)
        assert applied.weights_crc == zlib.crc32(weights_of(reference).tobytes())
        return applied


def weights_of(reference: Reference) -> np.ndarray:
    return np.concatenate([reference.layer.by_kernel(reference.w), reference.b]).astype(np.float32)


def small_layer(activation: str = "relu") -> Layer:
    return pointwise_layer(np.random.default_rng(3), 5, 7, 6, 11, activation)


def large_layer() -> Layer:
    """Smashed data of several frames."""
    return pointwise_layer(np.random.default_rng(4), 12, 10, 8, 64)


def sgd(layer: Layer) -> Reference:
    return Reference(layer, Config("sgd", F(0.9)))


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


def test_a_board_reset_is_noticed_and_the_next_connection_works() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    reference = sgd(bench.layer)
    bench.train_step(reference, 1)
    bench.board.reset()
    bench.host.stats()
    assert isinstance(bench.event(), Lost)
    assert bench.connect().last_step == 0
    bench.configure()
    bench.train_step(sgd(bench.layer), 1)


@pytest.mark.parametrize("moment", ["capturing", "sending", "awaiting", "adding", "half step"])
def test_a_new_connection_drops_the_half_step_and_nothing_else(moment: str) -> None:
    bench = Bench(large_layer(), sensor_steps=50, step_ms=1.0)
    bench.connect()
    bench.configure()
    reference = sgd(bench.layer)
    bench.train_step(reference, 1)
    if moment == "half step":
        smashed = bench.sample(1, 1)
        bench.host.gradient(smashed, np.ones(smashed.values.size, np.int8), GRADIENT_SCALE)
        bench.line.run(lambda: bench.board.node.session.train.samples_in_step == 1, LIMIT_MS)
    else:
        bench.host.sample(1, 1, train=True)
        state = "AWAITING" if moment == "adding" else moment.upper()
        bench.line.run(lambda: bench.board.state == state, LIMIT_MS)
        if moment == "adding":
            smashed = bench.event()
            bench.host.gradient(smashed, np.ones(smashed.values.size, np.int8), GRADIENT_SCALE)
            bench.line.run(lambda: bench.board.state == "ADDING", LIMIT_MS)
    bench.events.clear()
    assert bench.connect().last_step == 1
    bench.configure(restart=0)
    bench.train_step(reference, 2)
    assert np.array_equal(bench.board.master(), weights_of(reference))


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


def test_a_sample_in_place_of_a_gradient_drops_the_first() -> None:
    bench = Bench(small_layer())
    bench.connect()
    bench.configure()
    bench.sample(5, 1)
    reference = sgd(bench.layer)
    bench.train_step(reference, 1)
    assert np.array_equal(bench.board.master(), weights_of(reference))


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


@pytest.mark.parametrize("faults", FAULTS)
def test_a_board_that_is_reset_goes_on_from_what_it_saved(faults: str) -> None:
    bench = Bench(small_layer(), FAULTS[faults], seed=3, storage_bytes=4096)
    bench.connect()
    bench.configure(run=7)
    reference = sgd(bench.layer)
    for step in (1, 2):
        bench.train_step(reference, step)
    bench.host.save(2)
    bench.host.sample(1, 1, train=False)  # waits until all is saved
    saved = bench.event()
    assert isinstance(saved, Saved)
    assert (saved.step, saved.saves) == (2, 1)
    assert isinstance(bench.event(), SmashedData)
    bench.rest()
    bench.host.stats()
    counters = bench.event().named()
    assert (counters["saves"], counters["storage_bytes"]) == (1, saved.bytes)
    assert counters["save_ticks"] > 0
    bench.board.reset()
    welcome = bench.connect()
    assert (welcome.run, welcome.last_step, welcome.held) == (7, 2, ((7, 2),))
    bench.host.restore(7, 2)
    restored = bench.event()
    assert restored == Restored(run=7, step=2, weights_crc=zlib.crc32(weights_of(reference).tobytes()))
    bench.configure(restart=0, run=7)
    bench.train_step(reference, 3)


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


@pytest.mark.parametrize("forget", [False, True])
def test_with_the_answer_to_a_new_key_or_to_none_the_connection_ends(forget: bool) -> None:
    bench = Bench(small_layer(), storage_bytes=4096, keyed=True)
    assert bench.connect().device_id == bytes(8)
    device_id = b"a device"
    bench.host.provision(device_id, bytes(32))
    assert bench.event() == Provisioned(device_id=device_id)
    bench.rest()
    if forget:
        assert bench.connect().device_id == device_id
        bench.host.forget()
        assert bench.event() == Forgotten()
        bench.rest()
    bench.host.stats()
    assert isinstance(bench.event(), Lost)
    assert bench.connect().device_id == (bytes(8) if forget else device_id)
