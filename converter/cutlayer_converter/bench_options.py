"""Options that the converter's benches share."""

from __future__ import annotations

import click

from cutlayer_boards.spec import INSTRUCTION_SETS

board_option = click.option(
    "--board", "board_name", default="qemu_mps2_an386", show_default=True, metavar="BOARD", help="To run on."
)
instruction_set_option = click.option(
    "--instruction-set",
    type=click.Choice(INSTRUCTION_SETS),
    help="Code for another than the board's own: plain C, with 32 x 32 + 64 bit multiplications or without.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
