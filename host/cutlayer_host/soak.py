"""A soak: training on lines that misbehave, with boards that lose power and a host that is killed.

Round after round, boards with a storage of their own and one host process train the same lesson twice: once
undisturbed, once with everything going wrong. What comes out has to be the same, bit for bit: the weights on
the board after each step, all sections of its layer, and the tail with its optimizer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cutlayer_boards.emulator import emulate
from cutlayer_boards.keys import DeviceKey, Keys
from cutlayer_host.errors import HostError
from cutlayer_host.hazard import Hazard
from cutlayer_host.opening import connect
from cutlayer_host.store import Store
from cutlayer_host.transports.faulty import FaultCounts, FaultRates

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from cutlayer_boards.build import Firmware
    from cutlayer_boards.spec import BoardSpec

SECTIONS = range(6)
HOST_ERRORS_MAX = 5
"""Hosts that end by themselves before their work is done; more are a failure of the soak."""

FIRST_SECONDS = 4.0
"""Nothing but frames suffers so long after a host has started: it must be able to get anywhere."""


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """What to do.

    Attributes:
        seconds: with faults; the round in hand is finished without.
        cuts, resets, host_kills: a minute, of all lines, boards and hosts together.
        samples: of a round, for each board.
        host_options: more words for `cutlayer serve`.
    """

    spec: BoardSpec
    firmware: Firmware
    bundle: Path
    microphone: Path
    folder: Path
    rates: FaultRates
    seconds: float = 0.0
    cuts: float = 0.0
    resets: float = 0.0
    host_kills: float = 0.0
    boards: int = 1
    samples: int = 2000
    batch_size: int = 4
    checkpoint_every: int = 20
    optimizer: str = "adam"
    host_options: tuple[str, ...] = ()


@dataclass(slots=True)
class SoakReport:
    """What came of it: everything that differs from the undisturbed runs has to be 0.

    Attributes:
        steps: made in all rounds by all boards. `lost` are missing on one of the sides, `doubled` are on the
            board and not on the host, `other_steps` gave other weights than the undisturbed run's.
        mismatched_bytes: of boards' layers and of tails, optimizer included.
        goodput: steps a second, against the undisturbed runs.
        host_errors: what hosts said that ended by themselves too early.
        served: what the last host printed.
    """

    rounds: int = 0
    seconds: float = 0.0
    frames: FaultCounts = field(default_factory=FaultCounts)
    cuts: int = 0
    resets: int = 0
    host_kills: int = 0
    steps: int = 0
    lost: int = 0
    doubled: int = 0
    other_steps: int = 0
    mismatched_bytes: int = 0
    clean_seconds: float = 0.0
    clean_steps: int = 0
    host_errors: list[str] = field(default_factory=list)
    served: dict[str, Any] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        """Of all kinds."""
        frames = self.frames
        hurt = frames.lost + frames.corrupted + frames.duplicated + frames.reordered
        return hurt + self.cuts + self.resets + self.host_kills

    @property
    def survived(self) -> bool:
        """Whether nothing is lost, doubled or different."""
        return not (self.lost or self.doubled or self.other_steps or self.mismatched_bytes)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        speed, clean = (
            steps / seconds if seconds else 0.0
            for steps, seconds in ((self.steps, self.seconds), (self.clean_steps, self.clean_seconds))
        )
        derived = {
            "faults": self.faults,
            "survived": self.survived,
            "goodput": speed / clean if clean else 0.0,
        }
        named = {name: value for name, value in asdict(self).items() if name != "served"}
        return {**named, **derived}


def keys_of(plan: SoakPlan) -> Keys:
    """Those of all boards of the soak."""
    return Keys(plan.folder / "keys.json")


class SoakBoard:
    """A board that loses power now and then. Its storage stays, its line is a hazard.

    Attributes:
        line: to the host.
    """

    def __init__(
        self, plan: SoakPlan, rates: FaultRates, number: int, folder: Path, counts: FaultCounts
    ) -> None:
        self._plan = plan
        self._storage = folder / f"board{number}.storage"
        self._url: str | None = None
        self._device: DeviceKey | None = None
        self._power_cut = asyncio.Event()
        self.line = Hazard(lambda: self._url, rates, str(number), counts)

    async def run(self, ready: Callable[[], object]) -> None:
        """Boots, and boots again whenever power was lost, until cancelled."""
        plan = self._plan
        while True:
            async with emulate(plan.spec, plan.firmware, plan.microphone, storage=self._storage) as node:
                self._power_cut.clear()
                self._url, self._device = node.url, node.device
                if node.device:
                    keys_of(plan).add(node.device)
                ready()
                try:
                    await self._power_cut.wait()
                finally:
                    self._url = None
                    self.line.cut()
                    with contextlib.suppress(ProcessLookupError):
                        node.process.kill()
                    await node.process.wait()

    @property
    def name(self) -> str:
        """As a store names it."""
        return self.line.url if self._device is None else self._device.device_id.hex()

    def reset(self) -> None:
        """Cuts the power, amid whatever the board does."""
        self._power_cut.set()

    async def state(self) -> tuple[int, bytes]:
        """Its last step and all that its layer is, read past the line."""
        assert self._url is not None
        key = None if self._device is None else self._device.find
        async with connect(self._url, key=key) as device:
            return device.welcome.last_step, b"".join([await device.read(section) for section in SECTIONS])


class SoakHost:
    """The host's process, which goes on where it was killed."""

    def __init__(self, plan: SoakPlan, store: Path, seed: int) -> None:
        self._plan = plan
        self._store = store
        self._seed = seed
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self.began_s = 0.0

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._killed = True
            self._process.send_signal(signal.SIGKILL)

    async def run(self, urls: list[str], report: SoakReport) -> None:
        """Trains all boards to the end, over as many lives as it takes."""
        while True:
            self._killed = False
            self.began_s = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                *self._command(urls),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "CUTLAYER_KEYS": str(keys_of(self._plan).path)},
            )
            try:
                printed, said = await self._process.communicate()
            except asyncio.CancelledError:
                self.kill()
                raise
            if self._killed:
                continue
            if self._process.returncode == 0:
                report.served = json.loads(printed)
                return
            report.host_errors.append(said.decode(errors="replace")[-2000:])
            if len(report.host_errors) > HOST_ERRORS_MAX:
                raise HostError(
                    f"the host has ended {len(report.host_errors)} times by itself; the last words:\n"
                    f"{report.host_errors[-1]}",
                    "look at what it says",
                )

    def _command(self, urls: list[str]) -> list[str]:
        plan = self._plan
        command = [sys.executable, "-m", "cutlayer_host.cli", "serve"]
        for url in urls:
            command += ["--device", url]
        command += ["--bundle", str(plan.bundle), "--store", str(self._store), "--resume"]
        command += ["--samples", str(plan.samples), "--batch-size", str(plan.batch_size)]
        command += ["--checkpoint-every", str(plan.checkpoint_every), "--optimizer", plan.optimizer]
        command += ["--seed", str(self._seed), "--patience", "60", "--json", *plan.host_options]
        return [*command, "--insecure"] if plan.firmware.insecure else command


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a board and its tail are in the end: the weights' CRC-32 after each step, and all state."""

    steps: dict[int, int | None]
    board_step: int
    board: bytes
    tail: bytes


async def soak(plan: SoakPlan, tell: Callable[[str], None]) -> SoakReport:
    """Soaks for `plan.seconds`; `tell` hears how it goes.

    Raises:
        HostError, BoardError: it could not be carried through.
    """
    report = SoakReport()
    chance = random.Random(plan.rates.seed)
    while report.rounds == 0 or report.seconds < plan.seconds:
        seed, folder = report.rounds, plan.folder / f"round{report.rounds}"
        calm = FaultRates()
        began = time.monotonic()
        (clean,) = await train(plan, calm, 1, folder / "clean", seed, SoakReport())
        report.clean_seconds += time.monotonic() - began
        report.clean_steps += len(clean.steps)
        began = time.monotonic()

        async def hurt(boards: list[SoakBoard], host: SoakHost, began: float = began) -> None:
            await _hurt(plan, boards, host, report, chance, plan.seconds - report.seconds, began)

        rates = replace(plan.rates, seed=plan.rates.seed + 1000 * seed)
        outcomes = await train(plan, rates, plan.boards, folder / "soaked", seed, report, hurt)
        report.seconds += time.monotonic() - began
        report.rounds += 1
        for outcome in outcomes:
            compare(outcome, clean, report)
        tell(f"round {report.rounds}: {report.faults} faults, {report.mismatched_bytes} bytes differ")
    return report


async def train(
    plan: SoakPlan,
    rates: FaultRates,
    count: int,
    folder: Path,
    seed: int,
    report: SoakReport,
    hurt: Callable[[list[SoakBoard], SoakHost], Coroutine[Any, Any, None]] | None = None,
) -> list[Outcome]:
    """One lesson on each of `count` boards, over one host process; `hurt` does what it likes meanwhile.

    Raises:
        HostError, BoardError: it could not be carried through.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    boards = [SoakBoard(plan, rates, number, folder, report.frames) for number in range(count)]
    host = SoakHost(plan, folder / "runs", seed)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        background: list[asyncio.Task[None]] = []
        for board in boards:
            await stack.enter_async_context(board.line.open())
            booted = asyncio.Event()
            background.append(tasks.create_task(board.run(booted.set)))
            await booted.wait()
        if hurt is not None:
            background.append(tasks.create_task(hurt(boards, host)))
        await host.run([board.line.url for board in boards], report)
        if hurt is not None:
            background.pop().cancel()
        outcomes = await _outcomes(boards, folder / "runs")
        for task in background:
            task.cancel()
    return outcomes


async def _outcomes(boards: list[SoakBoard], folder: Path) -> list[Outcome]:
    store = Store(folder)
    runs = {run.device: run for run in store.runs()}
    outcomes = []
    for board in boards:
        run = runs[board.name]
        assert run.checkpoint is not None
        arrays = store.load(run.number, run.checkpoint).arrays
        steps = {done.step: done.weights_crc for done in store.history(run.number)}
        tail = b"".join(arrays[name].tobytes() for name in sorted(arrays))
        outcomes.append(Outcome(steps, *await board.state(), tail))
    return outcomes


async def _hurt(
    plan: SoakPlan,
    boards: list[SoakBoard],
    host: SoakHost,
    report: SoakReport,
    chance: random.Random,
    seconds: float,
    began: float,
) -> None:
    """Cuts lines, boards and hosts at random moments, as often as the plan says, until time is up."""
    rates = {"cuts": plan.cuts, "resets": plan.resets, "host_kills": plan.host_kills}
    total = sum(rates.values())
    while total > 0:
        await asyncio.sleep(chance.expovariate(total / 60.0))
        if time.monotonic() - began > seconds:
            return
        if time.monotonic() - host.began_s < FIRST_SECONDS:
            continue
        kind = chance.choices(list(rates), list(rates.values()))[0]
        board = chance.choice(boards)
        if kind == "host_kills":
            host.kill()
        elif kind == "resets":
            board.reset()
        elif board.line.carrying:
            board.line.cut()
        else:
            continue
        setattr(report, kind, getattr(report, kind) + 1)


def compare(outcome: Outcome, clean: Outcome, report: SoakReport) -> None:
    """Counts what differs."""
    made, board_step = len(outcome.steps), outcome.board_step
    report.steps += made
    report.lost += max(len(clean.steps) - made, made - board_step, 0)
    report.doubled += max(board_step - made, 0)
    report.other_steps += sum(outcome.steps.get(step) != crc for step, crc in clean.steps.items())
    report.mismatched_bytes += _differing_bytes(outcome.board, clean.board)
    report.mismatched_bytes += _differing_bytes(outcome.tail, clean.tail)


def _differing_bytes(one: bytes, other: bytes) -> int:
    return sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
