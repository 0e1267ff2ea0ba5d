"""The memory table: what a bundle takes of a board's RAM and flash, line by line.

The lines mirror cl_train_bytes (train.h), CL_NODE_BYTES (node.h) and the port; tests hold them against the C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_converter.bundle import MemoryLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutlayer_boards.spec import BoardSpec
    from cutlayer_converter.arena import ArenaPlan
    from cutlayer_converter.trainable import TrainableSpec

# SPEC.md, sections 1 and 2.
LINK_HEADER_BYTES = 12
CRC_BYTES = 4
COBS_BLOCK_BYTES = 254
# An op: struct cl_op and its parameters, rounded up.
OP_BYTES = 96


def memory_table(
    plan: ArenaPlan, trainable: TrainableSpec | None, board: BoardSpec
) -> tuple[MemoryLine, ...]:
    """RAM and flash by line, for the optimizer that `trainable` names."""
    tables = [("head weights", plan.weight_bytes), ("head ops", OP_BYTES * len(plan.steps))]
    ram = [("arena", plan.arena_bytes), *_sensor(plan), *_training(trainable)]
    ram += [(f"{name}, copied", size) for name, size in tables if board.constants_in_ram]
    ram += [("link buffers", _link(board)), ("receive ring", board.receive_bytes)]
    ram += [("node and port", board.node_bytes), ("stack", board.stack_bytes)]
    flash = [*tables, ("code", board.code_bytes)]
    return (
        *(MemoryLine(name, "ram", size) for name, size in ram),
        *(MemoryLine(name, "flash", size) for name, size in flash),
    )


def over_budget(lines: Sequence[MemoryLine], board: BoardSpec) -> tuple[int, int]:
    """Bytes beyond the board's RAM and flash; 0 where it fits."""
    ram = sum(line.bytes for line in lines if line.section == "ram")
    flash = sum(line.bytes for line in lines if line.section == "flash")
    return max(0, ram - board.ram_bytes), max(0, flash - board.flash_bytes)


def table_text(lines: Sequence[MemoryLine], board: BoardSpec) -> str:
    """The table as plain text, for an error's message."""
    rows = []
    for section, budget in (("ram", board.ram_bytes), ("flash", board.flash_bytes)):
        chosen = [line for line in lines if line.section == section]
        total = sum(line.bytes for line in chosen)
        rows += [f"  {line.name:<28}{section.upper():>6}{line.bytes:>12,}" for line in chosen]
        rows.append(f"  {'total of ' + format(budget, ','):<28}{section.upper():>6}{total:>12,}")
    return "\n".join(rows)


def _sensor(plan: ArenaPlan) -> list[tuple[str, int]]:
    """CL_NODE_SENSOR_BYTES: what the sensor takes beyond the arena that it is lent; no line for nothing."""
    beyond = plan.sensor_offset + plan.sensor_bytes - plan.arena_bytes
    return [("sensor", _aligned(beyond, 16))] if plan.sensor_bytes and beyond > 0 else []


def _link(board: BoardSpec) -> int:
    """CL_LINK_BYTES as node.h aligns it."""
    frame = LINK_HEADER_BYTES + board.max_payload + CRC_BYTES
    stage = frame + -(-frame // COBS_BLOCK_BYTES) + 1  # CL_LINK_STAGE_BYTES
    buffers = _aligned(frame, 4) * (board.window_frames + 1) + _aligned(stage, 4)
    return _aligned(buffers, 16)


def _aligned(size: int, boundary: int) -> int:
    return -(-size // boundary) * boundary


def _training(trainable: TrainableSpec | None) -> list[tuple[str, int]]:
    """The parts of cl_train_bytes, aligned to 8 in the first one."""
    if trainable is None:
        return []
    channels = trainable.channel_count
    parameters = trainable.weight_count + channels
    moments = 2 if trainable.optimizer == "adam" else 1
    images = parameters + 12 * channels  # int8 weights and shifts; biases, multipliers, weight scales
    size = 2 if trainable.master == "bfloat16" else 4
    padding = -(4 * parameters + size * (1 + moments) * parameters + images) % 8
    kept = "" if size == 4 else ", bfloat16"
    return [
        ("trainable layer's weights", images + padding),
        (f"master weights{kept}", size * parameters),
        (f"optimizer ({trainable.optimizer}{kept})", size * moments * parameters),
        ("gradient accumulator", 4 * parameters),
    ]
