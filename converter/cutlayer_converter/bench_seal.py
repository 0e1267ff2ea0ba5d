"""`cutlayer bench seal`: sealed connections in QEMU: instructions a byte and a handshake, flash, memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from cutlayer_converter.bench_options import board_option, json_option


@click.command()
@board_option
@json_option
def seal(*, board_name: str, as_json: bool) -> None:
    """Count the instructions of seals.

    They are of one handshake, and of a frame with 1 kB of payload, on the board's side.
    """
    from cutlayer_boards.console import console, print_json
    from cutlayer_boards.spec import board
    from cutlayer_converter.measure_seal import PAYLOAD_BYTES, measure_seal

    spec = board(board_name)
    with console().status(f"sealing frames on {spec.name}"):
        figures = measure_seal(spec)
    found: dict[str, Any] = {
        "board": spec.name,
        "payload_bytes": PAYLOAD_BYTES,
        "handshake_instructions": figures.handshake,
        **{
            f"{name}_instructions_a_byte": round(getattr(figures, name) / PAYLOAD_BYTES, 2)
            for name in ("seal", "open", "refuse")
        },
        **{name: value for name, value in asdict(figures).items() if name.endswith("_bytes")},
    }
    if as_json:
        print_json(found)
        return
    _print_table(found)


def _print_table(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("seal", found["board"], title=f"A frame of {found['payload_bytes']:,} bytes of payload")
    for name, value in found.items():
        if name not in ("board", "payload_bytes"):
            table.add_row(name.replace("_", " "), f"{value:,}")
    Console().print(table)
