"""Many boards served by one host process: `cutlayer bench serve`.

Each board trains with a tail of its own, on the same recordings in the same order. So all have to come out as
one board does that is served alone.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutlayer_host.commands.options import json_option
from cutlayer_host.commands.soak import demo_recordings, soak_plan, trained_options

if TYPE_CHECKING:
    from cutlayer_host.soak import SoakPlan


@click.command()
@click.option(
    "--boards", default=64, show_default=True, type=click.IntRange(1, 256), metavar="N", help="At once."
)
@click.option("--samples", default=160, show_default=True, metavar="N", help="Sample visits of each board.")
@click.option("--batch-size", default=8, show_default=True, metavar="N", help="Samples a step.")
@trained_options
@json_option
def serve(
    boards: int, samples: int, batch_size: int, bundle: Path, microphone: Path | None, as_json: bool
) -> None:
    """Measure one host process that trains many native boards at once."""
    import tempfile

    from cutlayer_boards.console import console, print_json

    options = {"boards": boards, "samples": samples, "batch_size": batch_size, "emulator": "native"}
    with tempfile.TemporaryDirectory(prefix="cutlayer-serve-") as folder:
        plan = soak_plan(bundle, microphone or demo_recordings(bundle), Path(folder), options)
        with console().status(f"{boards} boards"):
            result = asyncio.run(_measure(plan))
    if as_json:
        print_json(result)
        return
    console().print(
        f"{result['boards']} boards, {result['steps']} steps, {result['lost']} lost, "
        f"{result['mismatched_bytes']} bytes differ\n"
        f"a step takes {result['step_median_ms']:.0f} ms (median), {result['step_p99_ms']:.0f} ms (p99); "
        f"{result['steps_per_second']:.0f} steps a second in all",
        highlight=False,
    )


async def _measure(plan: SoakPlan) -> dict[str, Any]:
    from cutlayer_host.soak import SoakReport, compare, train
    from cutlayer_host.transports.faulty import FaultRates

    calm, report = FaultRates(), SoakReport()
    (alone,) = await train(plan, calm, 1, plan.folder / "alone", 0, SoakReport())
    began = time.monotonic()
    for outcome in await train(plan, calm, plan.boards, plan.folder / "together", 0, report):
        compare(outcome, alone, report)
    seconds = time.monotonic() - began
    return {
        "boards": plan.boards,
        "steps": report.steps,
        "lost": report.lost + report.doubled + report.other_steps,
        "mismatched_bytes": report.mismatched_bytes,
        "step_median_ms": report.served["step_median_ms"],
        "step_p99_ms": report.served["step_p99_ms"],
        "steps_per_second": report.steps / seconds,
        "seconds": seconds,
    }
