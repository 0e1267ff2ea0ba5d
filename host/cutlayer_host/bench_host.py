"""`cutlayer bench host`: what a step costs on the host beyond TensorFlow's own time.

A step here is one sample and one update: SAMPLE, smashed data, the tail, GRADIENT, APPLY, APPLIED. The board
is the double, in this process; its time is measured and taken off, as is TensorFlow's. What is left is the
link, the session, codecs, rounding, the event loop and the way to the tail's thread and back.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from cutlayer_host.commands.options import CODECS, json_option

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cutlayer_host.tail import Tail, TailStep
    from cutlayer_host.worker import TailWorker

WARM_UP_STEPS = 20
CLASSES = 10


@dataclass(frozen=True, slots=True)
class HostCost:
    """Milliseconds of a step: the host's own, TensorFlow's and the double's."""

    steps: int
    smashed_bytes: int
    host_median_ms: float
    host_p90_ms: float
    tensorflow_median_ms: float
    board_median_ms: float


class StandIn:
    """A tail without TensorFlow: a fixed gradient for each label. The host's part costs the same."""

    def __init__(self, count: int) -> None:
        import numpy as np

        random = np.random.default_rng(0)
        self.name = "stand-in"
        self.count = count
        self.class_count = CLASSES
        self.tensorflow_seconds = 0.0
        self._gradients = random.normal(0, 0.01, (CLASSES, count)).astype(np.float32)

    def step(self, _values: npt.NDArray[np.int8], _scale: float, _zero_point: int, label: int) -> TailStep:
        """See Tail.step."""
        from cutlayer_host.tail import TailStep

        return TailStep(1.0, 0, self._gradients[label])

    def apply(self, samples: int, learning_rate: float) -> None:
        """See Tail.apply."""

    def discard(self) -> None:
        """See Tail.discard."""

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """See Tail.state."""
        return {}


@click.command()
@click.option(
    "--steps", type=click.IntRange(10), metavar="N", default=300, show_default=True, help="Steps to measure."
)
@click.option(
    "--smashed-bytes",
    type=click.IntRange(1),
    metavar="N",
    default=8192,
    show_default=True,
    help="Elements of the smashed data.",
)
@click.option(
    "--activations",
    type=click.Choice(list(CODECS)),
    default="int8",
    show_default=True,
    help="Bits of the smashed data on the wire.",
)
@click.option(
    "--gradients",
    type=click.Choice(list(CODECS)),
    default="int8",
    show_default=True,
    help="Bits of the gradient on the wire.",
)
@click.option(
    "--tail",
    "tail_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A bundle's tail.keras: its own TensorFlow time is measured too. Sets the size of the smashed data.",
)
@json_option
def host(
    steps: int, smashed_bytes: int, activations: str, gradients: str, tail_path: Path | None, as_json: bool
) -> None:
    """Measure the host's own time of a step, beyond TensorFlow's."""
    cost = asyncio.run(measure(steps, smashed_bytes, CODECS[activations], CODECS[gradients], tail_path))
    if as_json:
        from cutlayer_boards.console import print_json

        print_json(asdict(cost))
        return
    click.echo(
        f"{cost.steps} steps of {cost.smashed_bytes} bytes: host {cost.host_median_ms:.2f} ms "
        f"(p90 {cost.host_p90_ms:.2f}), TensorFlow {cost.tensorflow_median_ms:.2f} ms"
    )


async def measure(
    steps: int,
    smashed_bytes: int,
    activation_codec: int = 0,
    gradient_codec: int = 0,
    tail_path: Path | None = None,
) -> HostCost:
    """Makes `steps` steps of one sample each with a double over a memory transport."""
    import numpy as np

    from cutlayer_host.device import Device
    from cutlayer_host.double import BoardDouble
    from cutlayer_host.optimizer import OptimizerSettings
    from cutlayer_host.settings import TrainSettings, Visit
    from cutlayer_host.trainer import Trainer
    from cutlayer_host.transports import memory_pair
    from cutlayer_host.worker import TailWorker as Worker

    async with Worker() as worker:
        tail = cast("Tail", StandIn(smashed_bytes)) if tail_path is None else await _load(worker, tail_path)
        recordings = np.random.default_rng(0).normal(0, 1, (CLASSES, tail.count)).astype(np.float32)
        board = BoardDouble(recordings, [label % tail.class_count for label in range(CLASSES)])
        host_end, board_end = memory_pair("bench")
        pump = board.serve(board_end)
        pump.start()
        device = await Device.open(host_end, key=None)
        settings = TrainSettings(
            batch_size=1,
            optimizer=OptimizerSettings("sgd"),
            activation_codec=activation_codec,
            gradient_codec=gradient_codec,
            rescale_threshold=1.0,
        )
        trainer = Trainer(device, tail, worker, settings)
        try:
            await trainer.start()
            rows = []
            before = (time.perf_counter(), tail.tensorflow_seconds, board.seconds)
            async for _ in trainer.steps(Visit(step % CLASSES) for step in range(WARM_UP_STEPS + steps)):
                after = (time.perf_counter(), tail.tensorflow_seconds, board.seconds)
                rows.append([1000 * (b - a) for a, b in zip(before, after, strict=True)])
                before = after
        finally:
            await device.close()
            await pump.close()
    return _cost(rows[WARM_UP_STEPS:], tail.count)


async def _load(worker: TailWorker, path: Path) -> Tail:
    from cutlayer_host.tail import Tail

    return await worker.run(Tail.load, path)


def _cost(rows: list[list[float]], smashed_bytes: int) -> HostCost:
    own = [wall - tensorflow - board for wall, tensorflow, board in rows]
    return HostCost(
        steps=len(rows),
        smashed_bytes=smashed_bytes,
        host_median_ms=statistics.median(own),
        host_p90_ms=statistics.quantiles(own, n=10)[-1],
        tensorflow_median_ms=statistics.median(row[1] for row in rows),
        board_median_ms=statistics.median(row[2] for row in rows),
    )
