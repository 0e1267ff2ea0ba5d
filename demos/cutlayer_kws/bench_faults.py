"""`cutlayer bench faults`: a training over a link that loses and corrupts frames, beside a clean one.

The demo's network learns on the native board. What it learns must be the same to the bit: the board's weights
after every step, all sections of its layer at the end, and the tail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from cutlayer_kws.command import json_option

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from cutlayer_host.transports.faulty import FaultRates
    from cutlayer_kws.lesson import LessonPlan, LessonResult

TRAIN_RECORDINGS = 400
TEST_RECORDINGS = 40
PRETRAINING_RECORDINGS = 200
FIRST_SEED = 1


@dataclass(frozen=True, slots=True)
class FaultyRun:
    """One training over a bad link, and the faults that it had."""

    rates: FaultRates
    result: LessonResult


@click.command(name="faults")
@click.option(
    "--visits",
    default=400,
    show_default=True,
    type=click.IntRange(8),
    metavar="N",
    help="Sample visits of each run.",
)
@click.option(
    "--loss",
    default=0.005,
    show_default=True,
    type=click.FloatRange(0, 0.5),
    metavar="SHARE",
    help="Of frames that are lost.",
)
@click.option(
    "--corruption",
    default=0.005,
    show_default=True,
    type=click.FloatRange(0, 0.5),
    metavar="SHARE",
    help="Of frames that arrive with a flipped bit.",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(1, 100),
    metavar="N",
    help="Runs, each with other faults.",
)
@click.option(
    "--out",
    default=Path("build"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Speech, network and firmware go to folders there.",
)
@json_option
def bench_faults(visits: int, loss: float, corruption: float, seeds: int, out: Path, as_json: bool) -> None:
    """Train over a link with faults; compare weights.

    It loses and corrupts frames. Beside it, the same is learned over a clean link.
    """
    from cutlayer_boards.console import console, print_json, progress
    from cutlayer_host.transports.faulty import FaultRates

    every = [FaultRates(loss, corruption, FIRST_SEED + number) for number in range(seeds)]
    with progress() as bars:
        plan = make_plan(out, visits, bars)
        clean, faulty = measure(plan, every, bars)
    figures = make_figures(clean, faulty)
    if as_json:
        print_json(figures)
    else:
        console().print(make_table(figures))


def make_plan(build: Path, visits: int, bars: Progress) -> LessonPlan:
    """The demo's split run on the native board, with little speech and pretraining: weights tell enough."""
    from cutlayer_boards.build import build_firmware
    from cutlayer_boards.spec import board
    from cutlayer_kws import demo, jobs
    from cutlayer_kws.budget import Budget
    from cutlayer_kws.crew import Crew
    from cutlayer_kws.model import Pretraining
    from cutlayer_kws.speech import SpeechPlan

    settings = demo.DemoSettings(
        build=build,
        budget=Budget(visits=visits),
        pretraining=Pretraining(recordings=PRETRAINING_RECORDINGS, epochs=1),
        speech=SpeechPlan(TRAIN_RECORDINGS, TEST_RECORDINGS),
    )
    corpus = demo.make_corpus(settings, bars)
    folder = build.absolute() / "bench" / "faults"
    with Crew(bars) as crew:
        [prepared] = crew.gather(
            crew.start("pretraining", jobs.prepare, corpus.folder, folder, settings.pretraining, 0)
        )
    firmware = build_firmware(board(demo.NATIVE), prepared.bundle, build)
    return replace(demo.plan_lesson(settings, corpus, prepared, firmware, 0), test=())


def measure(
    plan: LessonPlan, every: list[FaultRates], bars: Progress
) -> tuple[LessonResult, list[FaultyRun]]:
    """Trains over a clean link, then over each of the bad ones; one after another, for their times."""
    from cutlayer_host.transports.faulty import FaultRates
    from cutlayer_kws.lesson import run_lesson

    def train(name: str, rates: FaultRates) -> LessonResult:
        task = bars.add_task(name, total=len(plan.visits))
        return run_lesson(
            replace(plan, faults=rates), lambda done, total: bars.update(task, completed=min(done, total))
        )

    # The clean link goes through the same code, so that the two differ in the faults alone.
    clean = train("clean link", FaultRates())
    return clean, [
        FaultyRun(rates, train(f"bad link {number} of {len(every)}", rates))
        for number, rates in enumerate(every, 1)
    ]


def make_figures(clean: LessonResult, faulty: list[FaultyRun]) -> dict[str, Any]:
    """All figures. Goodput is samples a second; wire bytes count headers, acknowledgements and repeats."""
    rates = faulty[0].rates
    runs = [_figures(run.result, clean) | {"seed": run.rates.seed} for run in faulty]
    return {
        "loss": rates.loss,
        "corruption": rates.corruption,
        "samples": clean.samples,
        "same_weights": all(run["same_weights"] for run in runs),
        "goodput_ratio": round(fmean(run["goodput_ratio"] for run in runs), 3),
        "wire_bytes_ratio": round(fmean(run["wire_bytes_ratio"] for run in runs), 3),
        "clean": _figures(clean, clean),
        "faulty": runs,
    }


def _figures(result: LessonResult, clean: LessonResult) -> dict[str, Any]:
    return {
        "same_weights": result.learned == clean.learned,
        "steps": result.steps,
        "seconds": round(result.seconds, 2),
        "faults": result.faults,
        "frames_sent_again": result.frames_sent_again,
        "wire_bytes": result.wire_bytes,
        "goodput_ratio": round(clean.seconds / result.seconds, 3),
        "wire_bytes_ratio": round(sum(result.wire_bytes.values()) / sum(clean.wire_bytes.values()), 3),
        "weights_crc": result.weights_crc[-1],
        "tail_crc": result.tail_crc,
    }


def make_table(figures: dict[str, Any]) -> Table:
    """The figures for people."""
    from rich.table import Table

    table = Table(
        title=f"{figures['samples']} samples, {figures['loss']:.1%} of frames lost and "
        f"{figures['corruption']:.1%} corrupted",
        title_justify="left",
    )
    table.add_column("link")
    for name in ("frames", "lost", "corrupted", "sent again", "steps", "goodput"):
        table.add_column(name, justify="right")
    table.add_column("weights")
    named = [("clean", figures["clean"]), *((f"seed {run['seed']}", run) for run in figures["faulty"])]
    for name, run in named:
        faults = (str(run["faults"][kind]) for kind in ("frames", "lost", "corrupted"))
        again = str(sum(run["frames_sent_again"].values()))
        same = "the same" if run["same_weights"] else "DIFFERENT"
        table.add_row(name, *faults, again, str(run["steps"]), f"{run['goodput_ratio']:.0%}", same)
    return table
