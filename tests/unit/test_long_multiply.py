"""Two products a long multiplication: the fields' sums, in Python, and the layers that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import cases

from cutlayer_converter.ops.long_multiply import unsigned_words

OUTER = 0xFF0000FF
WORD = 2**32 - 1


def factors(word: int) -> tuple[int, int]:
    """cl_outer_bytes and cl_inner_bytes of product.h."""
    return word & OUTER, (word >> 16 | word << 16 & WORD) & OUTER


def middle(words: list[int], inputs: list[int]) -> int:
    """What the kernels read of their sum of 64 bits; `inputs` are int8."""
    v = [value + 128 for value in inputs]
    total = (-128 * sum(v)) % 2**32 << 24
    for word, first in zip(words, range(0, len(v), 4), strict=True):
        reverse = int.from_bytes(bytes(v[first : first + 4]), "big")
        total += sum(u * x for u, x in zip(factors(word), factors(reverse), strict=True))
    field = (total % 2**64 >> 24) & 0xFFFFFF
    return field - 2**24 if field >= 2**23 else field


def products(weights: list[int], inputs: list[int]) -> int:
    return sum(w * (x + 128) for w, x in zip(weights, inputs, strict=True))


@cases
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_the_middle_field_is_the_sum_of_products(blocks: int, seed: int, extreme: bool) -> None:
    generator = np.random.default_rng(seed)
    ends = np.array([-128, 127], np.int8)
    shape = (8 * blocks,)
    weights, inputs = (
        generator.choice(ends, shape) if extreme else generator.integers(-128, 128, shape, np.int8)
        for _ in range(2)
    )
    words = unsigned_words(weights[None])
    if words is None:
        assert 255 * np.abs(weights.astype(int)).sum() >= 2**23
        return
    packed = [int(word) & WORD for word in words[0]]
    assert middle(packed, inputs.tolist()) == products(weights.tolist(), inputs.tolist())


@pytest.mark.parametrize(
    ("weight", "most"),
    [(127, 2**23 // (255 * 127)), (-128, 2**23 // (255 * 128)), (0, 2 * 2**24 // (255 * 128))],
)
def test_as_many_weights_are_taken_as_fit_their_fields(weight: int, most: int) -> None:
    """Of the largest ones the middle field is full first, of zeros the lower one."""
    most -= most % 8
    weights = [weight] * most
    words = unsigned_words(np.array([weights], np.int8))
    assert words is not None
    for value in (-128, 127):
        assert middle([int(word) & WORD for word in words[0]], [value] * most) == products(
            weights, [value] * most
        )
    assert unsigned_words(np.full((1, most + 8), weight, np.int8)) is None


def test_weights_are_filled_up_with_zeros() -> None:
    words = unsigned_words(np.array([[1, -2, 3, -4, 5]], np.int8))
    assert words is not None
    assert words.view(np.uint8).tolist() == [[129, 126, 131, 124, 133, 128, 128, 128]]
