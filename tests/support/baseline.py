"""The models of ../shared/baseline, with TFLM's outputs for four inputs each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from core import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASELINE = ROOT.parent / "shared" / "baseline"
NAMES = ("rnd_head0", "rnd_head1", "rnd_head2", "rnd_head3", "rnd_head4", "kws", "resnet", "vww", "ad")


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """One model: its bytes, inputs and TFLM's outputs."""

    tflite: bytes
    inputs: NDArray[np.int8]
    outputs: NDArray[np.int8]


def baseline(name: str) -> Baseline:
    """Reads a model; says where it looked when it is not there."""
    path = BASELINE / f"{name}.tflite"
    assert path.is_file(), f"{path} is missing: check out shared/baseline beside the repository"
    arrays = np.load(BASELINE / f"{name}.npz")
    return Baseline(path.read_bytes(), arrays["input"], arrays["output"])
