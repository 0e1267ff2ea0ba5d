"""Convolution, depthwise convolution and fully connected layer against TensorFlow Lite Micro."""

from __future__ import annotations

from typing import TYPE_CHECKING

from head_runner import check_against_tflm
from hypothesis import given
from kernel_cases import cases
from layer_models import convolutions, dense, depthwise

if TYPE_CHECKING:
    from layer_models import Model


@cases
@given(convolutions())
def test_conv2d(model: Model) -> None:
    check_against_tflm(*model)


@cases
@given(depthwise())
def test_depthwise(model: Model) -> None:
    check_against_tflm(*model)


@cases
@given(dense())
def test_dense(model: Model) -> None:
    check_against_tflm(*model)
