"""Training on the emulated ATmega2560: every kind of layer, and its floats, as in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from avr_program import build_program, run_program
from core import ROOT
from train_layer import KINDS, OPTIMIZERS, random_layer
from train_program import crcs, in_numpy, sources
from train_reference import Config, F, Layer, quantize_multiplier

if TYPE_CHECKING:
    from pathlib import Path

FLOATS = ROOT / "tests" / "emulation" / "avr_floats_program.c"
STEPS = 20
MEMORY_BYTES = 2560
CASES = [
    *((kind, optimizer, "float32") for kind in KINDS for optimizer in OPTIMIZERS),
    *((kind, "adam", "bfloat16") for kind in KINDS),
]
FLOATS_EACH = 400


def small_layer(kind: str) -> Layer:
    """The first layer drawn that 8 KB hold, and that has a border and more than one tap."""
    rng = np.random.default_rng(7)
    while True:
        layer = random_layer(rng, kind)
        fits = 30 <= layer.weights.size <= 100 and np.prod(layer.output_shape) <= 300
        has_border = layer.kernel[0] * layer.kernel[1] > 2 and sum(layer.pad) > 0
        if fits and (has_border or kind == "dense"):
            return layer


@pytest.mark.simavr
@pytest.mark.parametrize(("kind", "optimizer", "master"), CASES)
def test_avr_equals_numpy(kind: str, optimizer: str, master: str, tmp_path: Path) -> None:
    case = small_layer(kind), Config(optimizer, F(0.9), master=master)
    program = build_program(tmp_path, sources(tmp_path, [case], STEPS, MEMORY_BYTES)[:1])
    assert crcs(run_program(program)) == [in_numpy(*case, 0, STEPS)]


def bits(values: np.ndarray) -> np.ndarray:
    return values.astype("<f4").view("<u4")


def quotients(rng: np.random.Generator) -> np.ndarray:
    """uint32 [n, 3]: x, y and x / y, below the normal numbers and just above."""
    y = np.ldexp(rng.uniform(1, 2, FLOATS_EACH), rng.integers(-20, 60, FLOATS_EACH)).astype(F)
    wanted = np.ldexp(rng.uniform(1, 2, FLOATS_EACH), rng.integers(-152, -122, FLOATS_EACH))
    x = (wanted * y.astype(np.float64) * rng.choice([-1, 1], FLOATS_EACH)).astype(F)
    with np.errstate(under="ignore"):
        quotient = x / y
    assert np.mean(np.abs(quotient) < 2.0**-126) > 0.5
    return np.stack([bits(x), bits(y), bits(quotient)], 1)


def multipliers(rng: np.random.Generator) -> np.ndarray:
    """uint32 [n, 5]: three scales, TFLite's multiplier of them in doubles (-1: none) and its shift."""
    scales = np.ldexp(rng.uniform(1, 2, (FLOATS_EACH, 3)), rng.integers(-25, 12, (FLOATS_EACH, 3))).astype(F)
    pairs = [quantize_multiplier(float(a) * float(b) / float(c)) or (-1, 0) for a, b, c in scales]
    assert {-1, 0} <= {multiplier for multiplier, _ in pairs}
    results = np.array(pairs, np.int64).astype("<i4").view("<u4")
    return np.concatenate([bits(scales), results], 1)


@pytest.mark.simavr
def test_floats_of_the_avr_are_ieee_754s(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lines = ["#include <stdint.h>"]
    for name, table in (("quotient", quotients(rng)), ("multiplier", multipliers(rng))):
        rows = ", ".join("{" + ", ".join(f"{value}u" for value in row) + "}" for row in table.tolist())
        lines.append(f"static const uint32_t {name}s[][{table.shape[1]}] PROGMEM = {{{rows}}};")
        lines.append(f"#define {name.upper()}_COUNT {len(table)}u")
    (tmp_path / "float_cases.h").write_text("\n".join(lines) + "\n")
    assert run_program(build_program(tmp_path, [FLOATS])) == ["done"]
