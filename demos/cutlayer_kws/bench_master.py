"""`cutlayer bench master`: what smaller master weights and moments on the board cost in accuracy.

For each seed one pretrained network learns the demo's words once with each way to keep the board's layer: the
same samples in the same order, the same tail. The first way is the yardstick: Adam with float32.

Rates are chosen with --tune alone, which never hears the test voices: it trains on four in five of the
training voices and measures with the fifth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from cutlayer_converter.bundle import Optimizer
    from cutlayer_converter.trainable import Master
    from cutlayer_kws.corpus import Corpus
    from cutlayer_kws.crew import Crew
    from cutlayer_kws.demo import DemoSettings

SEEDS = 3
TUNED_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Of SGD, at the first step: what --tune tries."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What the board keeps of its layer, and the rate of its first step."""

    optimizer: Optimizer
    master: Master
    learning_rate: float

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.optimizer}, {self.master}, rate {self.learning_rate:g}"


# The demo's own first, then the smaller ones. SGD's rate is what --tune found best.
FLOAT32 = Keeping("adam", "float32", 1e-2)
SMALLER = (Keeping("adam", "bfloat16", 1e-2), Keeping("sgd", "bfloat16", 1e-2))


@dataclass(frozen=True, slots=True)
class Learned:
    """A way to keep the layer, and the accuracy on the test recordings, seed by seed."""

    keeping: Keeping
    accuracy: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the seeds."""
        return fmean(self.accuracy)


def measure(
    settings: DemoSettings, corpus: Corpus, keepings: tuple[Keeping, ...], bars: Progress
) -> list[Learned]:
    """Trains on the native board: every keeping with every seed."""
    from cutlayer_kws.crew import Crew

    with Crew(bars) as crew:
        found = [_run_seed(crew, settings, corpus, keepings, seed) for seed in range(settings.seeds)]
    return [Learned(keeping, tuple(row)) for keeping, *row in zip(keepings, *found, strict=True)]


def _run_seed(
    crew: Crew, settings: DemoSettings, corpus: Corpus, keepings: tuple[Keeping, ...], seed: int
) -> list[float]:
    from cutlayer_boards.build import build_firmware
    from cutlayer_boards.spec import board
    from cutlayer_host.optimizer import OptimizerSettings
    from cutlayer_kws import jobs
    from cutlayer_kws.demo import NATIVE, plan_lesson
    from cutlayer_kws.lesson import run_lesson

    folder = settings.build.absolute() / "demo" / "master" / corpus.folder.name / f"seed{seed}"
    job = f"seed {seed}: pretraining"
    [prepared] = crew.gather(crew.start(job, jobs.prepare, corpus.folder, folder, settings.pretraining, seed))
    lessons = []
    for keeping in keepings:
        bundle = folder / f"{keeping.optimizer}-{keeping.master}"
        jobs.convert_for(folder, corpus.words, bundle, keeping.optimizer, keeping.master)
        native = build_firmware(board(NATIVE), bundle, settings.build)
        budget = replace(
            settings.budget,
            board_learning_rate=keeping.learning_rate,
            board_optimizer=OptimizerSettings(name=keeping.optimizer),
        )
        plan = plan_lesson(settings, corpus, replace(prepared, bundle=bundle), native, seed)
        lessons.append(crew.start(f"seed {seed}: {keeping.name}", run_lesson, replace(plan, budget=budget)))
    return [lesson.accuracy for lesson in crew.gather(*lessons)]


def make_figures(found: list[Learned], corpus: Corpus) -> dict[str, Any]:
    """The figures; the first of `found` is the yardstick. `points_lost` is negative where none are."""
    first = found[0]
    speakers = (set(corpus.speakers[: corpus.train_count]), set(corpus.speakers[corpus.train_count :]))
    return {
        "voices": {"train": len(speakers[0]), "test": len(speakers[1])},
        "test_recordings": len(corpus.test),
        "keepings": [
            {
                **asdict(one.keeping),
                "accuracy": round(one.mean, 4),
                "by_seed": [round(accuracy, 4) for accuracy in one.accuracy],
                "points_lost": round(100 * (first.mean - one.mean), 2),
            }
            for one in found
        ],
    }


@click.command(name="master")
@click.option(
    "--seeds",
    default=SEEDS,
    show_default=True,
    type=click.IntRange(1, 20),
    metavar="N",
    help="Runs to take the mean of.",
)
@click.option(
    "--tune", is_flag=True, help="Try SGD's rates, one seed, with voices held out of the training set."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_master(*, seeds: int, tune: bool, as_json: bool) -> None:
    """Compare bfloat16 master weights, with Adam and SGD, with float32.

    The demo's split training on the native board, and its accuracy on voices never heard.
    """
    from cutlayer_boards.console import console, print_json, progress
    from cutlayer_kws.corpus import hold_out
    from cutlayer_kws.demo import DemoSettings, make_corpus

    settings = DemoSettings(build=Path("build"), seeds=1 if tune else seeds)
    keepings: tuple[Keeping, ...] = (FLOAT32, *SMALLER)
    if tune:
        keepings = (FLOAT32, *(Keeping("sgd", "float32", rate) for rate in TUNED_RATES))
    with progress() as bars:
        corpus = make_corpus(settings, bars)
        if tune:
            corpus = hold_out(corpus, settings.build / "demo" / "cache")
        figures = make_figures(measure(settings, corpus, keepings, bars), corpus)
    if as_json:
        print_json(figures)
        return
    console().print(_table(figures))


def _table(figures: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("optimizer", "master weights", "rate", "accuracy", "points lost", "by seed")
    for row in figures["keepings"]:
        by_seed = ", ".join(f"{accuracy:.1%}" for accuracy in row["by_seed"])
        table.add_row(
            row["optimizer"],
            row["master"],
            f"{row['learning_rate']:g}",
            f"{row['accuracy']:.1%}",
            f"{row['points_lost']:.2f}",
            by_seed,
        )
    return table
