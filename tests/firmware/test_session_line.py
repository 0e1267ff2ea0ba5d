"""Steps of training between the host's session and a whole node in C, on a line with every fault."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from lines import FAULTS
from node_board import NodeBoard, pointwise_layer
from node_line import NodeEnd

from cutlayer_host.board_messages import Applied, Cleared, Configured, DataRead, Rescaled, StatsAre, Welcome
from cutlayer_host.codes import Optimizer, Section
from cutlayer_host.host_messages import Configure, Sample
from cutlayer_host.line import Faults, Line
from cutlayer_host.link import Lost, LostReason
from cutlayer_host.session import HostSession, Refused
from cutlayer_host.session_state import SessionState
from cutlayer_host.smashed_data import SmashedData
from cutlayer_host.tensors import GRADIENT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 11
STEPS, SAMPLES = 6, 3
LIMIT_MS = 600_000.0
ADAM = {"optimizer": Optimizer.ADAM, "momentum": 0.875, "beta2": 0.9990234375, "epsilon": 2.0**-20}
# The head of every test: 1024 elements of smashed data, more than one PIECE at int8.
SHAPE = {"height": 8, "width": 8, "inputs": 4, "channels": 16}


class Training:
    """A host and a node on a line. Events wait in `events` until `wait` takes them."""

    def __init__(self, faults: Faults, seed: int = SEED, **configuration: Any) -> None:
        rng = np.random.default_rng(SEED)
        layer = pointwise_layer(rng, **SHAPE)
        recordings = rng.integers(-128, 128, (5, *layer.input_shape)).astype(np.int8)
        self.node = NodeBoard(layer, recordings, receive_bytes=4096)
        self.session = HostSession(rng=random.Random(SEED))
        self.events: list[Any] = []
        self.line = Line(
            self.session,
            NodeEnd(self.node),
            on_host=self.events.append,
            on_board=self.events.append,
            faults=faults,
            seed=seed,
        )
        self.configuration = Configure(cut=1, restart=True, **configuration)
        self.step = 0

    def wait(self) -> Any:
        self.line.run(lambda: bool(self.events), self.line.now_ms + LIMIT_MS)
        return self.events.pop(0)

    def ask(self, request: Callable[..., None], *arguments: Any, **options: Any) -> Any:
        request(*arguments, **options)
        return self.wait()

    def open(self) -> None:
        assert isinstance(self.ask(self.session.connect, self.line.now_ms), Welcome)
        assert self.ask(self.session.configure, self.configuration) == Configured(last_step=self.step)

    def train(self, steps: int = STEPS) -> list[int]:
        """Learns nothing sensible, but the same nothing each time. Returns each step's weights_crc."""
        limit = GRADIENT_LIMITS[self.configuration.gradient_codec]
        rng = np.random.default_rng(SEED + self.step)
        checks = []
        for _ in range(steps):
            for number in range(SAMPLES):
                sample = self.step * SAMPLES + number
                smashed = self.ask(self.session.sample, sample, sample % 5, train=True)
                assert isinstance(smashed, SmashedData)
                g = rng.integers(-limit, limit, smashed.values.size, endpoint=True).astype(np.int8)
                self.session.gradient(smashed, g, 2.0**-8)
            self.step += 1
            applied = self.ask(self.session.apply, self.step, SAMPLES, 2.0**-6)
            assert isinstance(applied, Applied)
            assert applied.step == self.step
            checks.append(applied.weights_crc)
        return checks

    def read(self, section: Section) -> bytes:
        data = b""
        while True:
            part = self.ask(self.session.read, section, len(data))
            assert isinstance(part, DataRead)
            data += part.data
            if len(data) == part.total:
                return data


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[int]]:
    """The checks of each kind of run on a clean line."""
    checks = {}
    for name, configuration in RUNS.items():
        training = Training(Faults(), **configuration)
        training.open()
        checks[name] = training.train()
        assert len(set(checks[name])) == STEPS
    return checks


RUNS: dict[str, dict[str, Any]] = {
    "int8": {},
    "int4, adam": {"activation_codec": 1, "gradient_codec": 1, **ADAM},
    "int2 of int8 without zeros": {"activation_codec": 16, "gradient_codec": 2, "momentum": 0.5},
    "int8 of int4 without zeros": {"activation_codec": 17, "gradient_codec": 0},
}
every_run = pytest.mark.parametrize("run", RUNS)
every_fault = pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)


@every_run
@every_fault
def test_a_bad_line_ends_with_the_weights_of_a_clean_one(
    undisturbed: dict[str, list[int]], faults: Faults, run: str
) -> None:
    training = Training(faults, seed=5, **RUNS[run])
    training.open()
    assert training.train() == undisturbed[run]
    master = training.read(Section.MASTER)
    assert zlib.crc32(master) == undisturbed[run][-1]
    assert training.node.master().tobytes() == master
    if faults.loss:
        assert training.line.to_board.faults + training.line.to_host.faults > 0


@every_fault
def test_a_new_connection_goes_on_where_the_last_one_was(faults: Faults) -> None:
    training = Training(faults, **RUNS["int8"])
    training.open()
    checks = []
    for turn in range(STEPS):
        checks += training.train(1)
        # Leaves a half step behind, with a sample pending.
        training.session.sample(99, 1, train=True)
        if turn % 2:
            smashed = training.wait()
            assert isinstance(smashed, SmashedData)
            training.session.gradient(smashed, np.ones(smashed.values.size, np.int8), 1.0)
        training.configuration = Configure(cut=1)
        training.open()
        assert training.session.welcome is not None
        assert training.session.welcome.last_step == training.step
        assert training.events == []
    continued = Training(Faults(), **RUNS["int8"])
    continued.open()
    assert checks == [check for _ in range(STEPS) for check in continued.train(1)]


@every_fault
def test_a_repeated_step_changes_nothing(faults: Faults) -> None:
    training = Training(faults, **RUNS["int8"])
    training.open()
    checks = training.train(2)
    again = training.ask(training.session.apply, 2, SAMPLES, 0.5)
    assert again.weights_crc == checks[-1]
    assert training.node.master().tobytes() == training.read(Section.MASTER)


@every_fault
def test_refusals_leave_a_session_that_goes_on(faults: Faults) -> None:
    training = Training(faults, **RUNS["int8"])
    training.open()
    session = training.session
    refused = training.ask(session.sample, 1, 77, train=True)
    assert isinstance(refused, Refused)
    assert refused.about == Sample.KIND
    refused = training.ask(session.apply, 1, SAMPLES, 0.5)
    assert isinstance(refused, Refused)
    refused = training.ask(session.apply, 5, SAMPLES, 0.5)
    assert isinstance(refused, Refused)
    assert session.state is SessionState.READY
    assert isinstance(training.ask(session.clear), Cleared)
    assert isinstance(training.ask(session.rescale, 0.5, -128), Rescaled)
    smashed = training.ask(session.sample, 1, 1, train=True)
    assert smashed.scale == 0.5
    assert isinstance(training.ask(session.stats), StatsAre)
    assert session.state is SessionState.AWAITING


@every_fault
def test_a_board_that_was_reset_is_noticed_and_starts_anew(faults: Faults) -> None:
    training = Training(faults, **RUNS["int8"])
    training.open()
    first = training.train(2)
    training.node.reset()
    lost = training.ask(training.session.stats)
    assert lost == Lost(LostReason.RESET)
    training.step = 0
    training.open()
    assert training.train(2) == first


@every_fault
def test_inference_at_every_cut(faults: Faults) -> None:
    training = Training(faults)
    training.open()
    for cut, count in ((0, 8 * 8 * 4), (1, 8 * 8 * 16)):
        training.ask(training.session.configure, Configure(cut=cut))
        smashed = training.ask(training.session.sample, 1, 2, train=False)
        assert isinstance(smashed, SmashedData)
        assert smashed.values.size == count
        assert smashed.label == 2
    assert training.session.state is SessionState.READY


def test_the_boards_counters_agree_with_the_line() -> None:
    training = Training(FAULTS["10% loss, 5% corruption"], **RUNS["int8"])
    training.open()
    training.train()
    counters = training.ask(training.session.stats).named()
    assert counters["samples_captured"] == STEPS * SAMPLES
    assert counters["gradients_added"] == STEPS * SAMPLES
    assert counters["steps_applied"] == STEPS
    assert counters["messages_refused"] == 0
    assert counters["frames_malformed"] > 0
    assert counters["frames_sent_again"] > 0
