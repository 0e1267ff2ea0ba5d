"""`cutlayer convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from cutlayer_converter.bundle import Manifest, Optimizer
    from cutlayer_converter.trainable import Master


@click.command()
@click.argument("model")
@click.option("--cut", required=True, metavar="LAYER", help="Layer whose output is the smashed data.")
@click.option(
    "--board", "board_name", required=True, metavar="BOARD", help="Board whose budget must hold it."
)
@click.option(
    "--data",
    required=True,
    metavar="CALIB.npz[:KEY]",
    help="Representative inputs [samples, ...], float; the first array, or the one named KEY.",
)
@click.option("--out", required=True, metavar="DIR", help="The bundle: made, or replaced if it is one.")
@click.option(
    "--optimizer",
    type=click.Choice(["sgd", "adam"]),
    default="adam",
    show_default=True,
    help="Optimizer that the board keeps memory for; adam allows sgd too.",
)
@click.option(
    "--master",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="What the board keeps master weights and moments as; bfloat16 takes half the RAM.",
)
@click.option("--classes", metavar="A,B,C", help="Names of the model's outputs, in order.")
@click.option(
    "--shallowest-cut",
    metavar="LAYER",
    help="Let a host stop the head after an earlier layer, down to this one; else --cut is the only place.",
)
@click.option(
    "--verify", is_flag=True, help="Compare the compiled head with TensorFlow Lite Micro, byte by byte."
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON on stdout.")
def convert(
    model: str,
    cut: str,
    board_name: str,
    data: str,
    out: str,
    optimizer: Optimizer,
    master: Master,
    classes: str | None,
    shallowest_cut: str | None,
    verify: bool,
    as_json: bool,
) -> None:
    """Cut a Keras MODEL after a layer and compile its head."""
    from pathlib import Path

    from cutlayer_boards.console import console, print_json, progress
    from cutlayer_boards.spec import board
    from cutlayer_converter.convert import convert as run

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    spec = board(board_name)
    with progress() as bar:
        task = bar.add_task("start", total=4 if verify else 3)

        def report(stage: str) -> None:
            bar.update(task, description=stage, advance=1)

        manifest = run(
            Path(model),
            cut,
            spec,
            data,
            Path(out),
            optimizer=optimizer,
            master=master,
            class_names=names,
            shallowest_cut=shallowest_cut,
            verify=verify,
            report=report,
        )
    if as_json:
        print_json({"out": out, "verified": verify, "manifest": manifest.to_dict()})
        return
    console().print(_memory_table(manifest))
    if manifest.trainable is None:
        console().print(f"Not trainable on the board: {manifest.untrainable_reason}.")
    else:
        layer = manifest.trainable
        console().print(
            f"The board trains {layer.layer!r} ({layer.kind}, {layer.weight_count:,} weights, "
            f"{layer.channel_count} biases)."
        )
    if verify:
        console().print(f"Equal to TensorFlow Lite Micro, byte for byte, at {len(manifest.cuts)} cuts.")
    shape = " x ".join(str(size) for size in manifest.smashed.shape)
    console().print(f"{out}: model {manifest.model_id[:16]}, {shape} bytes of smashed data a sample")


@click.command(hidden=True)
@click.argument("weights", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--bundle",
    required=True,
    type=click.Path(exists=True, file_okay=False),
    help="What `cutlayer convert` wrote.",
)
@click.option("--out", required=True, metavar="DIR", help="The models: made, or replaced if it is such.")
@click.option("--tail-only", is_flag=True, help="No head: without a layer it would be as converted.")
def assemble(weights: str, bundle: str, out: str, tail_only: bool) -> list[str]:
    """Put the weights that `cutlayer export` has gathered into the models of a bundle.

    WEIGHTS is an .npz file: tail/0, tail/1 and so on, and the board's layer, if there is one, as layer/NAME
    with the names that LearnedLayer.of takes. Returns the names of the files.
    """
    from pathlib import Path

    from cutlayer_converter.export import export, read_weights

    tail, learned = read_weights(Path(weights), Path(bundle))
    return export(Path(bundle), Path(out), tail, learned, with_head=not tail_only)


def _memory_table(manifest: Manifest) -> Table:
    from rich.table import Table

    table = Table(title=f"{manifest.board}, cut after {manifest.cut_layer!r}", title_justify="left")
    table.add_column("what")
    table.add_column("RAM", justify="right")
    table.add_column("flash", justify="right")
    for line in manifest.memory:
        cells = (f"{line.bytes:,}", "") if line.section == "ram" else ("", f"{line.bytes:,}")
        table.add_row(line.name, *cells)
    table.add_section()
    table.add_row("in use", f"{manifest.ram_bytes:,}", f"{manifest.flash_bytes:,}")
    table.add_row("budget", f"{manifest.ram_budget_bytes:,}", f"{manifest.flash_budget_bytes:,}")
    return table
