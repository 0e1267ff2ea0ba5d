"""A whole node in C on a line in virtual time, with the host's session at its other end."""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
from node_board import NodeBoard, pointwise_layer
from train_reference import Config, F, Layer, Reference

from cutlayer_host import tensors
from cutlayer_host.board_messages import Applied, Configured, Welcome
from cutlayer_host.codes import Optimizer
from cutlayer_host.host_messages import Configure
from cutlayer_host.line import Faults, Line
from cutlayer_host.session import HostSession
from cutlayer_host.smashed_data import SmashedData

LIMIT_MS = 3_600_000.0
GRADIENT_SCALE, RATE = 2e-4, 0.01


class NodeEnd:
    """The board's end of a cutlayer_host.line.Line.

    Every busy step of the node takes `step_ms` of virtual time, in which bytes pile up in the ring; what
    does not fit is lost and counted in `overflow`.
    """

    def __init__(self, board: NodeBoard, step_ms: float = 0.0) -> None:
        self.board = board
        self.step_ms = step_ms
        self.overflow = 0
        self._free_at_ms = 0.0
        self._timeout_ms = 0.0

    def receive(self, data: bytes, now_ms: float) -> list[Any]:
        fits = data[: self.board.receive_bytes - len(self.board.received)]
        self.overflow += len(data) - len(fits)
        self.board.received += fits
        self._run(now_ms)
        return []

    def transmit(self, now_ms: float, max_bytes: int | None = None) -> bytes:
        self.board.room = max(0, (1 << 20 if max_bytes is None else max_bytes) - len(self.board.sent))
        self._run(now_ms)
        data = bytes(self.board.sent[:max_bytes])
        del self.board.sent[:max_bytes]
        return data

    def next_timeout_ms(self, now_ms: float) -> float | None:
        return max(self._timeout_ms, self._free_at_ms - now_ms)

    def _run(self, now_ms: float) -> None:
        self.board.clock.now_ms = int(now_ms) + 2**32 - 5000
        if not self.step_ms:
            self._timeout_ms = self.board.run()
        elif now_ms >= self._free_at_ms:
            self._timeout_ms = self.board.step()
            self._free_at_ms = now_ms + (self.step_ms if self._timeout_ms == 0 else 0.0)


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
