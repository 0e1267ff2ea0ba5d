"""The demo's figures: a table for people, report.json for programs.

Units: a step is a mini-batch of `details.batch_size` samples. `wire_bytes` are of a step, headers,
acknowledgements and all. `instructions` are of one sample on the emulated Cortex-M4F: `head` the whole
head, `features` the front end, `update` the gradient's accumulation and the sample's share of the step's
update. They are instruction counts, not times of a real board.
"""

from __future__ import annotations

import json
import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from cutlayer_boards.build import Firmware
    from cutlayer_kws.demo import DemoResult, Emulated, SeedResult

FLOAT_BYTES = 4


def make_report(result: DemoResult) -> dict[str, Any]:
    """All figures, by the names that the project's issues use; more of them under ``details``."""
    seeds, emulated = result.seeds, result.seeds[0].emulated
    accuracy = {
        "frozen": _mean([seed.frozen.accuracy for seed in seeds]),
        "split": _mean([seed.split.accuracy for seed in seeds]),
        "central": _mean([seed.central_measured.accuracy for seed in seeds]),
    }
    wire_bytes = {way: _mean([_per_step(seed, way) for seed in seeds], 1) for way in ("up", "down")}
    return {
        "accuracy": accuracy,
        "seeds": len(seeds),
        "ram_bytes": None if emulated is None else emulated.firmware.ram_bytes_static,
        "flash_bytes": None if emulated is None else emulated.firmware.flash_bytes,
        "wire_bytes": wire_bytes,
        "instructions": None if emulated is None else _instructions(result, emulated),
        "steps_per_second": {
            "native": _mean([seed.split.steps / seed.split.seconds for seed in seeds], 2),
            "qemu": None if emulated is None else round(emulated.qemu.steps / emulated.qemu.seconds, 2),
        },
        "bit_exact_native_qemu": None if emulated is None else emulated.bit_exact,
        "seconds": round(result.seconds, 1),
        "details": _details(result, accuracy, wire_bytes),
    }


def write_report(report: dict[str, Any], path: Path) -> None:
    """Writes report.json, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def make_table(report: dict[str, Any]) -> Table:
    """The report for people."""
    from rich.table import Table

    details = report["details"]
    table = Table(title=f"Keyword spotting across the cut, {report['seeds']} seed(s)", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_column("note", style="dim")
    for row in (*_accuracy_rows(report), *_wire_rows(report), *_board_rows(report)):
        table.add_row(*row)
    table.add_row(
        "time",
        f"{report['seconds']:.0f} s",
        f"{details['visits']:,} visits a run, {details['corpus']['train']:,} recordings",
    )
    return table


def _accuracy_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    accuracy, details = report["accuracy"], report["details"]
    gain = 100 * details["split_over_frozen"]
    simulated = details["float_simulation"]
    tests = details["corpus"]["test"]
    return [
        ("accuracy, head frozen", f"{accuracy['frozen']:.1%}", f"{tests} recordings of unseen voices"),
        (
            "accuracy, split",
            f"{accuracy['split']:.1%}",
            f"{gain:+.1f} points; in float32 {simulated:.1%}",
        ),
        ("accuracy, central", f"{accuracy['central']:.1%}", "all layers, in one place"),
    ]


def _wire_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    wire, details = report["wire_bytes"], report["details"]
    return [
        ("wire bytes a step, up", f"{wire['up']:,.0f}", f"{details['batch_size']} samples, headers and all"),
        ("wire bytes a step, down", f"{wire['down']:,.0f}", ""),
        (
            "against float32 both ways",
            f"1/{1 / details['wire_share_of_float32']:.1f}",
            f"{details['wire_bytes_float32']:,} bytes",
        ),
        (
            "steps a second, native",
            f"{report['steps_per_second']['native']:.1f}",
            "a process of this computer",
        ),
    ]


def _board_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    if report["instructions"] is None:
        return []
    details, instructions = report["details"], report["instructions"]
    used = f"stack included, {details['stack_used_bytes']:,} of its {details['stack_bytes']:,} used"
    same = "every weight, every step" if report["bit_exact_native_qemu"] else "THE WEIGHTS DIFFER"
    return [
        ("steps a second, QEMU", f"{report['steps_per_second']['qemu']:.1f}", "emulated Cortex-M4F"),
        ("native and QEMU the same", str(report["bit_exact_native_qemu"]).lower(), same),
        ("instructions, features", f"{instructions['features']:,}", "a sample; counted by QEMU"),
        ("instructions, head", f"{instructions['head']:,}", "a sample"),
        ("instructions, update", f"{instructions['update']:,}", "a sample and its share of the step"),
        ("RAM, bytes", f"{report['ram_bytes']:,}", used),
        ("flash, bytes", f"{report['flash_bytes']:,}", "code, constants and the head's weights"),
        *((f"  {name}", f"{size:,}", "") for name, size in details["sections"].items()),
    ]


def _details(result: DemoResult, accuracy: dict[str, float], wire: dict[str, float]) -> dict[str, Any]:
    first, budget = result.seeds[0], result.settings.budget
    float32_bytes = 2 * FLOAT_BYTES * budget.batch_size * first.prepared.manifest.smashed.count
    details: dict[str, Any] = {
        "split_over_frozen": round(accuracy["split"] - accuracy["frozen"], 4),
        "float_simulation": _mean([seed.simulated_accuracy for seed in result.seeds]),
        "wire_bytes_float32": float32_bytes,
        "wire_share_of_float32": round((wire["up"] + wire["down"]) / float32_bytes, 4),
        "batch_size": budget.batch_size,
        "visits": first.split.samples,
        "pretrained_words": result.corpus.words[: first.prepared.words],
        "words": result.corpus.words,
        "corpus": {
            "train": result.corpus.train_count,
            "test": result.corpus.count - result.corpus.train_count,
            "train_voices": len(set(result.corpus.speakers[: result.corpus.train_count])),
            "test_voices": len(set(result.corpus.speakers[result.corpus.train_count :])),
        },
        "model_id": first.prepared.manifest.model_id,
        "smashed_shape": first.prepared.manifest.smashed.shape,
        "by_seed": [_seed_details(seed) for seed in result.seeds],
    }
    if first.emulated is not None:
        details |= _emulated_details(first.emulated, first.emulated.firmware)
    return details


def _seed_details(seed: SeedResult) -> dict[str, Any]:
    return {
        "pretrained": round(seed.prepared.accuracy, 4),
        "frozen": round(seed.frozen.accuracy, 4),
        "split": round(seed.split.accuracy, 4),
        "central": round(seed.central_measured.accuracy, 4),
        "central_float": round(seed.central.float_accuracy, 4),
        "float_simulation": round(seed.simulated_accuracy, 4),
        "seconds": {"frozen": round(seed.frozen.seconds, 1), "split": round(seed.split.seconds, 1)},
        "tensorflow_seconds": round(seed.split.tensorflow_seconds, 1),
        "frames_sent_again": seed.split.stats["frames_sent_again"],
        "confusion": seed.split.confusion,
    }


def _emulated_details(emulated: Emulated, firmware: Firmware) -> dict[str, Any]:
    return {
        "emulated_visits": emulated.qemu.samples,
        "sections": firmware.sections,
        "node_bytes": emulated.qemu.stats["memory_bytes"],
        "stack_used_bytes": emulated.qemu.stats["stack_bytes"],
        "stack_bytes": firmware.sections.get(".stack"),
    }


def _instructions(result: DemoResult, emulated: Emulated) -> dict[str, int]:
    from cutlayer_boards.spec import board
    from cutlayer_kws.demo import EMULATED

    a_tick = board(EMULATED).instructions_per_tick or math.nan
    ticks, batch_size = emulated.counted.stats, result.settings.budget.batch_size
    counts = {
        "head": ticks["head_ticks"],
        "update": ticks["accumulate_ticks"] + ticks["apply_ticks"] / batch_size,
        "features": ticks["sensor_ticks"],
    }
    return {name: round(count * a_tick) for name, count in counts.items()}


def _per_step(seed: SeedResult, way: str) -> float:
    return seed.split.wire_bytes[way] / max(seed.split.steps, 1)


def _mean(values: list[float], digits: int = 4) -> float:
    return round(fmean(values), digits)
