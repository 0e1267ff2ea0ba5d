"""The demo from end to end: speech, pretraining, conversion, three runs, measurement through the device.

For each seed the same pretrained network learns ten words three times, with the same samples in the same
order: with the head frozen (only the tail learns), split (the board updates its last layer), and
centrally. The first seed also trains on the emulated Cortex-M4F, for the comparison bit for bit and for
the counts of instructions.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cutlayer_boards.spec import board
from cutlayer_kws.budget import Budget
from cutlayer_kws.corpus import import_speech_commands
from cutlayer_kws.errors import DemoError
from cutlayer_kws.features import corpus_features
from cutlayer_kws.lesson import LessonPlan, LessonResult, run_lesson
from cutlayer_kws.model import Pretraining
from cutlayer_kws.speech import SpeechPlan, make_speech

if TYPE_CHECKING:
    from concurrent.futures import Future

    from rich.progress import Progress

    from cutlayer_boards.build import Firmware
    from cutlayer_kws.corpus import Corpus
    from cutlayer_kws.crew import Crew
    from cutlayer_kws.jobs import CentralResult, Prepared

NATIVE = "native"
EMULATED = "qemu_mps2_an386"


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the demo does.

    Attributes:
        build: Where everything goes: `build`/demo.
        seeds: Runs with seeds 0 to `seeds` - 1.
        budget: Of each run.
        pretraining: Before the cut.
        speech: To make, unless `speech_commands` is given.
        speech_commands: A folder in Speech Commands' layout.
        emulated_visits: On the emulated Cortex-M4F; 0 leaves it out.
        counted_visits: On the emulated Cortex-M4F while it counts instructions.
    """

    build: Path = Path("build")
    seeds: int = 1
    budget: Budget = field(default_factory=Budget)
    pretraining: Pretraining = field(default_factory=Pretraining)
    speech: SpeechPlan = field(default_factory=SpeechPlan)
    speech_commands: Path | None = None
    emulated_visits: int = 240
    counted_visits: int = 8


@dataclass(frozen=True, slots=True)
class Emulated:
    """What the emulated Cortex-M4F did, beside the native board on the same samples."""

    firmware: Firmware
    qemu: LessonResult
    native: LessonResult
    counted: LessonResult

    @property
    def bit_exact(self) -> bool:
        """Weights after every step, all state of the layer at the end, and the tail are the same."""
        return self.qemu.learned == self.native.learned


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What one seed gave; `emulated` is of the first seed only."""

    prepared: Prepared
    frozen: LessonResult
    split: LessonResult
    central: CentralResult
    central_measured: LessonResult
    simulated_accuracy: float
    emulated: Emulated | None


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo gave, for the report."""

    settings: DemoSettings
    corpus: Corpus
    seeds: tuple[SeedResult, ...]
    seconds: float


def run_demo(settings: DemoSettings, bars: Progress) -> DemoResult:
    """Runs the whole demo, showing on `bars` how far it is.

    Raises:
        DemoError: No speech, or recordings that do not suit.
        CutlayerError: Whatever conversion, build, board or training raise.
    """
    from cutlayer_kws.crew import Crew

    began = time.monotonic()
    if settings.emulated_visits and shutil.which("qemu-system-arm") is None:
        packages = board(EMULATED).apt_packages
        raise DemoError(
            "qemu-system-arm is not installed",
            f"sudo apt-get install {packages}, or use --emulated-samples 0",
        )
    corpus = make_corpus(settings, bars)
    with Crew(bars) as crew:
        seeds = tuple(_run_seed(crew, settings, corpus, seed) for seed in range(settings.seeds))
    return DemoResult(settings, corpus, seeds, time.monotonic() - began)


def make_corpus(settings: DemoSettings, bars: Progress) -> Corpus:
    """The recordings, with their features made; kept in `build`/demo/cache."""
    cache = settings.build / "demo" / "cache"
    if settings.speech_commands is not None:
        corpus = import_speech_commands(settings.speech_commands, cache)
    else:
        task = bars.add_task("speech", total=None)
        corpus = make_speech(
            settings.speech,
            cache,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
        bars.update(task, completed=corpus.count, total=corpus.count)
    task = bars.add_task("features", total=1)
    corpus_features(corpus)
    bars.update(task, completed=1)
    return corpus


def _run_seed(crew: Crew, settings: DemoSettings, corpus: Corpus, seed: int) -> SeedResult:
    from cutlayer_boards.build import build_firmware
    from cutlayer_kws import jobs

    folder = settings.build.absolute() / "demo" / f"seed{seed}"
    name = f"seed {seed}: " if settings.seeds > 1 else ""
    [prepared] = crew.gather(
        crew.start(name + "pretraining", jobs.prepare, corpus.folder, folder, settings.pretraining, seed)
    )
    native = build_firmware(board(NATIVE), prepared.bundle, settings.build)
    plan = plan_lesson(settings, corpus, prepared, native, seed)
    split = crew.start(name + "split", run_lesson, plan)
    frozen = crew.start(name + "frozen", run_lesson, replace(plan, update_head=False))
    central = crew.start(
        name + "central",
        jobs.train_centrally,
        corpus.folder,
        folder,
        folder / "central",
        settings.budget,
        seed,
    )
    simulated = crew.start(
        name + "float simulation", jobs.simulate, corpus.folder, folder, settings.budget, seed
    )
    emulated = _start_emulated(crew, settings, plan) if seed == 0 and settings.emulated_visits else None
    [central_result] = crew.gather(central)
    measured = crew.start(
        name + "central, measured", run_lesson, _measuring(plan, central_result, settings.build)
    )
    split_result, frozen_result, simulated_accuracy, measured_result = crew.gather(
        split, frozen, simulated, measured
    )
    return SeedResult(
        prepared=prepared,
        frozen=frozen_result,
        split=split_result,
        central=central_result,
        central_measured=measured_result,
        simulated_accuracy=simulated_accuracy,
        emulated=None if emulated is None else Emulated(emulated[0], *crew.gather(*emulated[1])),
    )


def plan_lesson(
    settings: DemoSettings, corpus: Corpus, prepared: Prepared, firmware: Firmware, seed: int
) -> LessonPlan:
    """The split run on the native board.

    Raises:
        DemoError: The board cannot train the head's last layer.
    """
    if prepared.manifest.trainable is None:
        raise DemoError(f"the head cannot be trained: {prepared.manifest.untrainable_reason}")
    return LessonPlan(
        board=NATIVE,
        bundle=prepared.bundle,
        firmware=firmware,
        microphone=corpus.microphone,
        visits=tuple(settings.budget.order(corpus.train_count, seed).tolist()),
        test=tuple(corpus.test.tolist()),
        budget=settings.budget,
        seed=seed,
    )


def _start_emulated(
    crew: Crew, settings: DemoSettings, plan: LessonPlan
) -> tuple[Firmware, list[Future[LessonResult]]]:
    """The first visits of the split run once more: on the Cortex-M4F, on the native board, and counted."""
    from cutlayer_boards.build import build_firmware

    firmware = build_firmware(board(EMULATED), plan.bundle, settings.build)
    same = replace(plan, visits=plan.visits[: settings.emulated_visits], test=())
    emulated = replace(same, board=EMULATED, firmware=firmware)
    counted = replace(emulated, visits=plan.visits[: settings.counted_visits], count_instructions=True)
    return firmware, [
        crew.start("split on the emulated Cortex-M4F", run_lesson, emulated),
        crew.start("the same on the native board", run_lesson, same),
        crew.start("instructions", run_lesson, counted),
    ]


def _measuring(plan: LessonPlan, central: CentralResult, build: Path) -> LessonPlan:
    """A board with the centrally trained network, which only names the test recordings."""
    from cutlayer_boards.build import build_firmware

    firmware = build_firmware(board(NATIVE), central.bundle, build)
    return replace(plan, bundle=central.bundle, firmware=firmware, visits=(), update_head=False)
