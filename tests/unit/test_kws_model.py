"""The network: its cut, what pretraining keeps from it, and the float32 simulation of the split run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cutlayer_kws import model as network
from cutlayer_kws import simulation
from cutlayer_kws.budget import Budget
from cutlayer_kws.features import INPUT_SHAPE, real_input
from cutlayer_kws.model import CUT_LAYER, SMASHED_SHAPE, TRAINABLE_LAYER, Pretraining

SETTINGS = Pretraining(recordings=32, epochs=20, batch_size=8)
COUNT = 96


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Ten patterns in noise."""
    random = np.random.default_rng(3)
    patterns = random.integers(-100, 100, (10, *INPUT_SHAPE))
    return (patterns[np.arange(COUNT) % 10] + random.integers(-25, 26, (COUNT, *INPUT_SHAPE))).astype(np.int8)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return (np.arange(COUNT) % 10).astype(np.uint8)


@pytest.fixture(scope="module")
def pretrained(features: np.ndarray, labels: np.ndarray) -> Any:
    from cutlayer_converter.quiet import quiet_tensorflow

    quiet_tensorflow()
    return network.pretrain(features, labels, SETTINGS, seed=5)


@pytest.fixture
def model(pretrained: Any) -> Any:
    return network.extend_to_words(pretrained, 10, seed=5)


def logits(model: Any, features: np.ndarray) -> np.ndarray:
    return np.asarray(model(real_input(features), training=False))


def test_the_head_ends_in_a_small_pointwise_layer(model: Any) -> None:
    assert model.get_layer(CUT_LAYER).output.shape[1:] == SMASHED_SHAPE
    assert 6_000 <= np.prod(SMASHED_SHAPE) <= 8_500
    layer = model.get_layer(TRAINABLE_LAYER)
    assert layer.kernel_size == (1, 1)
    assert layer.get_weights()[0].size == 48 * 64


def test_pretraining_sees_the_first_words_only(
    features: np.ndarray, labels: np.ndarray, pretrained: Any
) -> None:
    indices = network.pretraining_indices(labels, SETTINGS)
    assert len(indices) == 32
    assert labels[indices].max() == 4
    other = features.copy()
    other[np.setdiff1d(np.arange(COUNT), indices)] = 0
    again = network.pretrain(other, labels, SETTINGS, seed=5)
    assert np.array_equal(logits(again, features[:4]), logits(pretrained, features[:4]))


def test_extending_keeps_all_but_the_last_layer(pretrained: Any, model: Any) -> None:
    assert model.output_shape == (None, 10)
    for layer in pretrained.layers[:-1]:
        for before, after in zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True):
            assert np.array_equal(before, after)


def test_calibration_reaches_both_ends(features: np.ndarray, tmp_path: Any) -> None:
    network.write_calibration(tmp_path / "calibration.npz", np.clip(features, -100, 100))
    x = np.load(tmp_path / "calibration.npz")["x"]
    assert (x.min(), x.max()) == (0.0, 255 / 128)


def test_a_simulation_without_steps_changes_nothing(
    model: Any, features: np.ndarray, labels: np.ndarray
) -> None:
    before = logits(model, features[:8])
    budget = Budget(visits=0)
    simulation.simulate_split(model, features, labels, np.zeros(0, np.int64), budget)
    np.testing.assert_allclose(logits(model, features[:8]), before, rtol=1e-3, atol=1e-3)


def test_a_simulation_trains_the_last_layer_of_the_head_and_the_tail(
    model: Any, features: np.ndarray, labels: np.ndarray
) -> None:
    before = {layer.name: layer.get_weights() for layer in model.layers}
    budget = Budget(visits=16, batch_size=8)
    steps: list[int] = []
    order = budget.order(COUNT, seed=0)
    simulation.simulate_split(model, features, labels, order, budget, steps.append)
    assert steps == [1, 2]
    changed = {
        layer.name
        for layer in model.layers
        if any((a != b).any() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    tail = {"depthwise_tail", "depthwise_tail_bn", "words"}
    assert changed == {TRAINABLE_LAYER, f"{TRAINABLE_LAYER}_bn", *tail}


def test_central_training_learns_its_samples(model: Any, features: np.ndarray, labels: np.ndarray) -> None:
    budget = Budget(visits=480, batch_size=8, tail_learning_rate=3e-3)
    order = np.resize(np.arange(COUNT), 480)
    correct = simulation.train_central(model, features, labels, order, budget)
    assert len(correct) == budget.steps == 60
    assert np.mean(correct[-10:]) > np.mean(correct[:10]) + 0.2


def test_a_budget_visits_everything_before_anything_again() -> None:
    budget = Budget(visits=25, batch_size=8)
    order = budget.order(10, seed=1)
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert [len(batch) for batch in budget.batches(order)] == [8, 8, 8, 1]
    assert budget.steps == 4
    assert not np.array_equal(order, budget.order(10, seed=2))


def test_rates_fall_and_stay_above_zero() -> None:
    budget = Budget(visits=80, batch_size=8)
    rates = [budget.board_rate(step) for step in range(1, 12)]
    assert rates[0] == budget.board_learning_rate
    assert rates == sorted(rates, reverse=True)
    assert min(rates) > 0
