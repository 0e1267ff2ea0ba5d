"""Heads with samples and TensorFlow Lite Micro's outputs, for programs that run on emulated boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from kernel_cases import cases

from cutlayer_converter.graph import read_graph
from cutlayer_converter.verify import Oracle

if TYPE_CHECKING:
    from hypothesis import strategies as st
    from layer_models import Model
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    tflite: bytes
    inputs: NDArray[np.int8]
    outputs: NDArray[np.int8]


def random_cases(models: st.SearchStrategy[Model], count: int) -> list[Case]:
    """The same models in every run, with TFLM's outputs."""
    found: list[Case] = []

    @settings(cases, max_examples=count, derandomize=True)
    @given(models)
    def collect(model: Model) -> None:
        tflite, samples = model
        oracle, output = Oracle(tflite), read_graph(tflite).output.index
        outputs = []
        for sample in samples:
            oracle.run(sample)
            outputs.append(oracle.tensor(output).copy())
        found.append(Case(tflite, np.stack(samples), np.stack(outputs)))

    collect()
    return found
