"""`cutlayer demo`: the keyword-spotting demo."""

from __future__ import annotations

from pathlib import Path

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")


@click.group()
def demo() -> None:
    """Show split training from end to end."""


@demo.command()
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(1, 20),
    metavar="N",
    help="Runs to take the mean of.",
)
@click.option(
    "--samples",
    default=None,
    type=click.IntRange(min=8),
    metavar="N",
    help="Sample visits of each run.  [default: 20000]",
)
@click.option(
    "--emulated-samples",
    default=None,
    type=click.IntRange(min=0),
    metavar="N",
    help="Sample visits on the emulated Cortex-M4F; 0 leaves it out.  [default: 240]",
)
@click.option(
    "--speech-commands",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Recordings in Speech Commands' layout, in place of speech made by espeak-ng.",
)
@click.option(
    "--out",
    default=Path("build"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The report goes to OUT/demo.",
)
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw OUT/demo/report.png.")
@json_option
def kws(
    seeds: int,
    samples: int | None,
    emulated_samples: int | None,
    speech_commands: Path | None,
    out: Path,
    plot: bool,
    as_json: bool,
) -> None:
    """Teach a board ten words, five of them new, while no audio leaves it."""
    from dataclasses import replace

    from cutlayer_boards.console import console, print_json, progress
    from cutlayer_kws.demo import DemoSettings, run_demo
    from cutlayer_kws.plot import draw, require_matplotlib
    from cutlayer_kws.report import make_report, make_table, write_report

    settings = DemoSettings(build=out, seeds=seeds, speech_commands=speech_commands)
    if samples is not None:
        settings = replace(settings, budget=replace(settings.budget, visits=samples))
    if emulated_samples is not None:
        settings = replace(settings, emulated_visits=emulated_samples)
    if plot:
        require_matplotlib()
    with progress() as bars:
        result = run_demo(settings, bars)
    report = make_report(result)
    folder = out / "demo"
    write_report(report, folder / "report.json")
    files = [folder / "report.json"]
    if plot:
        draw(result, report, folder / "report.png")
        files.append(folder / "report.png")
    if as_json:
        print_json(report)
        return
    console().print(make_table(report))
    console().print("\n".join(str(file) for file in files), highlight=False)


@click.command(name="kws")
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(1, 20),
    metavar="N",
    help="Runs to take the mean of.",
)
@json_option
def bench_kws(seeds: int, as_json: bool) -> None:
    """Run the keyword-spotting demo with several seeds."""
    from cutlayer_boards.console import console, print_json, progress
    from cutlayer_kws.demo import DemoSettings, run_demo
    from cutlayer_kws.report import make_report, make_table

    with progress() as bars:
        report = make_report(run_demo(DemoSettings(seeds=seeds), bars))
    if as_json:
        print_json(report)
    else:
        console().print(make_table(report))
