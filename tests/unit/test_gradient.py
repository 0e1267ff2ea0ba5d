from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutlayer_host.gradient import GradientQuantizer
from cutlayer_host.tensors import GRADIENT_LIMITS

LIMITS = sorted(GRADIENT_LIMITS.values())
NONE = np.zeros(1000, np.bool_)


def gradients(seed: int, scale: float = 0.01) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, 1000).astype(np.float32)


@given(
    limit=st.sampled_from(LIMITS), seed=st.integers(0, 1000), size=st.sampled_from([1e-12, 1e-3, 1.0, 1e6])
)
def test_integers_stay_within_the_limit_and_one_unit_of_the_gradient(
    limit: int, seed: int, size: float
) -> None:
    quantizer = GradientQuantizer(limit, seed=seed)
    quantizer.begin(1)
    gradient = gradients(seed, size)
    values, scale = quantizer.quantize(gradient, NONE)
    assert values.dtype == np.int8
    assert np.abs(values.astype(int)).max() <= limit
    assert np.abs(values * scale - gradient).max() <= scale * 1.001


@pytest.mark.parametrize("limit", LIMITS)
def test_the_mean_of_many_roundings_is_the_gradient(limit: int) -> None:
    gradient = gradients(0)
    total = np.zeros(1000)
    for step in range(2000):
        quantizer = GradientQuantizer(limit, seed=1)
        quantizer.begin(step)
        values, scale = quantizer.quantize(gradient, NONE)
        total += values * scale
    # Five standard errors of a rounding's variance, which is scale^2 / 4 at most.
    assert np.abs(total / 2000 - gradient).max() < 5 * (scale / 2) / np.sqrt(2000)


def test_masked_elements_are_zero_and_do_not_set_the_scale() -> None:
    quantizer = GradientQuantizer(127)
    quantizer.begin(1)
    gradient = gradients(0)
    gradient[::2] *= 1e6
    masked = np.arange(1000) % 2 == 0
    values, scale = quantizer.quantize(gradient, masked)
    assert not values[masked].any()
    assert scale == pytest.approx(np.abs(gradient[1::2]).max() / 127)


def test_one_scale_for_all_samples_of_a_step_and_larger_ones_clip() -> None:
    quantizer = GradientQuantizer(127)
    quantizer.begin(1)
    _, first = quantizer.quantize(gradients(0), NONE)
    values, second = quantizer.quantize(gradients(1) * 10, NONE)
    assert second == first
    assert np.abs(values).max() == 127
    assert quantizer.clipped > 0
    quantizer.end()
    quantizer.begin(2)
    _, third = quantizer.quantize(gradients(2), NONE)
    assert third == pytest.approx(np.abs(gradients(1) * 10).max() / 127)
    assert quantizer.clipped == 0


def test_the_running_maximum_fades() -> None:
    quantizer = GradientQuantizer(127, decay=0.5)
    scales = []
    for step, size in enumerate([1.0, 0.01, 0.01, 0.01]):
        quantizer.begin(step)
        scales.append(quantizer.quantize(np.full(8, size, np.float32), np.zeros(8, np.bool_))[1] * 127)
        quantizer.end()
    assert scales == pytest.approx([1.0, 1.0, 0.5, 0.25])


def test_a_step_begun_again_gives_the_same_integers() -> None:
    quantizer = GradientQuantizer(7, seed=3)
    rounds = []
    for _ in range(2):
        quantizer.begin(5)
        quantizer.quantize(gradients(8) * 100, NONE)
        rounds.append([quantizer.quantize(gradients(seed), NONE) for seed in range(3)])
    for (values, scale), (again, scale_again) in zip(*rounds, strict=True):
        assert scale == scale_again
        assert np.array_equal(values, again)
    quantizer.begin(6)
    quantizer.quantize(gradients(8) * 100, NONE)
    assert not np.array_equal(quantizer.quantize(gradients(0), NONE)[0], rounds[0][0][0])


def test_a_gradient_of_zeros_has_a_scale() -> None:
    quantizer = GradientQuantizer(127)
    quantizer.begin(1)
    for masked in (NONE, ~NONE):
        values, scale = quantizer.quantize(np.zeros(1000, np.float32), masked)
        assert not values.any()
        assert np.float32(scale) > 0
