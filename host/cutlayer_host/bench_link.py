"""Goodput of the link in virtual time: `cutlayer bench link`.

The host's end is this package's, the board's end is the firmware's C, with the board's buffers. Goodput is
bytes of tensors over what the line could carry in the same time: headers, acknowledgements, checks, seals and
waiting are all paid for.
"""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec
    from cutlayer_host.body import Parameters

BAD_LOSS, BAD_CORRUPTION = 0.10, 0.05
"""Of the line that is compared with the one asked for."""

LIMIT_MS = 600_000.0
"""Of virtual time: a line that needs longer has stalled."""


@dataclass(frozen=True, slots=True)
class Goodput:
    """One run. `line_bytes_per_second` is what the line can carry, 8N1."""

    direction: str
    tensors: int
    tensor_bytes: int
    frame_loss: float
    frame_corruption: float
    line_bytes_per_second: float
    bytes_per_second: float
    fraction: float
    frames_sent_again: int
    wall_seconds: float


def board_parameters(spec: BoardSpec, *, sealed: bool) -> Parameters:
    """What a board says of itself when it connects: cl_node_init (firmware/lib/cutlayer/src/node.c)."""
    from cutlayer_host.body import Parameters
    from cutlayer_host.wire import MIN_PAYLOAD_BYTES, SEAL_BYTES, frame_bytes_max

    seal_bytes = SEAL_BYTES if sealed else 0
    window_bytes = spec.receive_bytes - _SLACK_FRAMES * frame_bytes_max(seal_bytes)
    frames = spec.window_frames if sealed else 1
    payload = spec.max_payload
    while frame_bytes_max(payload) > window_bytes or (
        frames * frame_bytes_max(payload) > window_bytes and payload > MIN_PAYLOAD_BYTES + seal_bytes
    ):
        payload -= 1
    return Parameters(payload - seal_bytes, window_bytes, spec.window_frames)


_SLACK_FRAMES = 10
"""Frames without payload that find room beyond the credit: CL_NODE_RING_SLACK_BYTES."""

_DEVICE_ID, _KEY = bytes(range(1, 9)), bytes(range(100, 132))


def measure(
    direction: str,
    *,
    baud: int = 921_600,
    latency_ms: float = 1.0,
    tensor_bytes: int = 8192,
    tensors: int = 32,
    loss: float = 0.0,
    corruption: float = 0.0,
    seed: int = 0,
    board: Parameters,
    sealed: bool = False,
) -> Goodput:
    """Sends tensors as PIECEs `up` (board to host), `down`, or `both` ways at once, and times the line.

    `board` is its parameters, those of a sealed connection for a `sealed` one. For `both` the fraction is
    that of the slower direction.
    """
    from cutlayer_host.firmware_link import FirmwareLink
    from cutlayer_host.guard import HostGuard
    from cutlayer_host.line import BITS_PER_BYTE, Faults, Line
    from cutlayer_host.link import Link, LinkEvent, Received, Role

    rng = random.Random(seed)
    guard = HostGuard({_DEVICE_ID: _KEY}.get, rng.randbytes) if sealed else None
    host_end = Link(Role.HOST, rng=rng, guard=guard)
    board_end = FirmwareLink(
        Role.BOARD, board, device_id=_DEVICE_ID, key=_KEY if sealed else None, random_bytes=rng.randbytes
    )
    received = {"up": 0, "down": 0}

    def count(name: str, event: LinkEvent) -> None:
        if isinstance(event, Received):
            received[name] += len(event.payload) - _PIECE_BYTES

    line = Line(
        host_end,
        board_end,
        on_host=lambda event: count("up", event),
        on_board=lambda event: count("down", event),
        baud=baud,
        latency_ms=latency_ms,
        faults=Faults(loss=loss, corruption=corruption),
        seed=seed,
    )
    host_end.connect(0.0)
    # A board's sealed connection begins with the host's first sealed frame.
    line.run(lambda: host_end.peer is not None and board_end.state.payload_max > 0, LIMIT_MS)
    started_ms, started_s = line.now_ms, time.perf_counter()
    directions = ("up", "down") if direction == "both" else (direction,)
    for name in directions:
        end = board_end if name == "up" else host_end
        for piece in _pieces(tensor_bytes, tensors, board.max_payload, random.Random(seed)):
            end.send(piece)
    total_bytes = tensors * tensor_bytes
    line.run(lambda: all(received[name] >= total_bytes for name in directions), LIMIT_MS)
    seconds = (line.now_ms - started_ms) / 1000.0
    capacity = baud / BITS_PER_BYTE
    return Goodput(
        direction=direction,
        tensors=tensors,
        tensor_bytes=tensor_bytes,
        frame_loss=loss,
        frame_corruption=corruption,
        line_bytes_per_second=capacity,
        bytes_per_second=total_bytes / seconds,
        fraction=total_bytes / seconds / capacity,
        frames_sent_again=host_end.sent_again + board_end.state.data_resent,
        wall_seconds=time.perf_counter() - started_s,
    )


_PIECE_BYTES = 8


def _pieces(tensor_bytes: int, tensors: int, max_payload: int, rng: random.Random) -> list[bytes]:
    """Tensors of random int8 as encoded PIECEs."""
    from cutlayer_host.message import Piece

    most = max_payload - _PIECE_BYTES
    return [
        Piece(
            count=(count := min(most, tensor_bytes - first)), first=first, data=rng.randbytes(count)
        ).encode()
        for _ in range(tensors)
        for first in range(0, tensor_bytes, most)
    ]


@click.command()
@click.option("--baud", default=921_600, show_default=True, help="Baud rate of the line, 8N1.")
@click.option("--latency", "latency_ms", default=1.0, show_default=True, help="One way, in ms.")
@click.option("--tensor-bytes", default=8192, show_default=True, help="Of a tensor.")
@click.option("--tensors", default=32, show_default=True, help="Tensors to send, one behind the other.")
@click.option("--loss", default=0.0, show_default=True, help="Fraction of frames that are lost.")
@click.option("--corruption", default=0.0, show_default=True, help="Fraction of frames with a flipped bit.")
@click.option("--seed", default=0, show_default=True, help="Of the faults, the bytes and the nonces.")
@click.option(
    "--board",
    "board_name",
    default="qemu_mps2_an386",
    show_default=True,
    metavar="BOARD",
    help="Whose buffers the board's end has.",
)
@click.option("--max-payload", type=click.IntRange(min=1), help="Another longest payload than the board's.")
@click.option("--receive-bytes", type=click.IntRange(min=1), help="Another receive ring.")
@click.option("--window-frames", type=click.IntRange(min=1), help="Other frames held out of order, and one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def link(
    *,
    baud: int,
    latency_ms: float,
    tensor_bytes: int,
    tensors: int,
    loss: float,
    corruption: float,
    seed: int,
    board_name: str,
    max_payload: int | None,
    receive_bytes: int | None,
    window_frames: int | None,
    as_json: bool,
) -> None:
    """Measure the goodput of the link on a line in virtual time.

    The board's end is the firmware's own link, compiled for this machine; plain, then sealed.
    """
    from rich.console import Console
    from rich.table import Table

    from cutlayer_boards.console import print_json
    from cutlayer_boards.spec import board

    spec = board(board_name)
    spec = replace(
        spec,
        max_payload=max_payload or spec.max_payload,
        receive_bytes=receive_bytes or spec.receive_bytes,
        window_frames=window_frames or spec.window_frames,
    )

    def every_way(loss: float, corruption: float, *, sealed: bool) -> list[Goodput]:
        parameters = board_parameters(spec, sealed=sealed)
        return [
            measure(
                direction,
                baud=baud,
                latency_ms=latency_ms,
                tensor_bytes=tensor_bytes,
                tensors=tensors,
                loss=loss,
                corruption=corruption,
                seed=seed,
                board=parameters,
                sealed=sealed,
            )
            for direction in ("up", "down", "both")
        ]

    found: dict[bool, dict[str, Any]] = {}
    table = Table("", "direction", "bytes/s", "of the line", "frames sent again", "of it on a bad line")
    for sealed in (False, True):
        runs = every_way(loss, corruption, sealed=sealed)
        bad = every_way(BAD_LOSS, BAD_CORRUPTION, sealed=sealed)
        kept = [worse.fraction / run.fraction for run, worse in zip(runs, bad, strict=True)]
        found[sealed] = {
            "board": asdict(board_parameters(spec, sealed=sealed)),
            **{run.direction: asdict(run) for run in runs},
            "bad_line": {"kept": min(kept), **{run.direction: asdict(run) for run in bad}},
        }
        for run, part in zip(runs, kept, strict=True):
            table.add_row(
                "sealed" if sealed else "plain",
                run.direction,
                f"{run.bytes_per_second:.0f}",
                f"{run.fraction:.1%}",
                str(run.frames_sent_again),
                f"{part:.0%}",
            )
    if as_json:
        print_json({**found[False], "sealed": found[True]})
        return
    Console().print(table)
    Console().print(
        f"{baud} baud; a bad line loses {BAD_LOSS:.0%} of its frames and corrupts {BAD_CORRUPTION:.0%}",
        highlight=False,
    )
