"""Hypothesis strategies for quantized operators: sizes, scales, zero points and extreme values."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray  # noqa: TC002 - hypothesis reads the annotations

# The same 250 cases in every run; CUTLAYER_CASES=10000 searches that many new ones.
_CASES = int(os.environ.get("CUTLAYER_CASES", "0"))
cases = settings(
    max_examples=_CASES or 250,
    deadline=None,
    derandomize=not _CASES,
    database=None,
    suppress_health_check=list(HealthCheck),
)

sizes = st.integers(1, 11)
channels = st.one_of(st.integers(1, 9), st.sampled_from([12, 16, 17, 24]))
strides = st.integers(1, 4)
kernels = st.integers(1, 5)
zero_points = st.one_of(st.integers(-128, 127), st.sampled_from([-128, 0, 127]))
scales = st.floats(-6.0, 0.5).map(lambda power: float(np.float32(10.0**power)))
activations = st.sampled_from([0, 1, 3])
paddings = st.sampled_from([0, 1])
# log2 of real multipliers: most as in trained networks, some tiny (flushed to 0) and some above one.
multiplier_powers = st.one_of(st.floats(-14.0, 0.0), st.floats(-36.0, -14.0), st.floats(0.0, 7.0))


@dataclass(frozen=True)
class Contents:
    """Where the numbers of a case come from."""

    seed: int
    extreme: bool
    huge_bias: bool

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


contents = st.builds(
    Contents, st.integers(0, 2**32 - 1), st.sampled_from([False, False, True]), st.sampled_from([False, True])
)


def int8_values(generator: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> NDArray[np.int8]:
    """Uniform bytes, or only the ends of the range."""
    if extreme:
        return generator.choice(np.array([-128, 127], np.int8), shape)
    return generator.integers(-128, 128, shape, np.int8)


def bias_values(generator: np.random.Generator, count: int, huge: bool) -> NDArray[np.int32]:
    """Biases of the size of the products, or so large that everything saturates."""
    limit = 2**30 if huge else 2**13
    return generator.integers(-limit, limit + 1, count, np.int32)


def output_size(padding: int, size: int, kernel: int, stride: int) -> int:
    """TFLite's output size."""
    return -(-size // stride) if padding == 0 else (size - kernel + stride) // stride
