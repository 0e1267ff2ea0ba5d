"""The arena of the baseline models beside TFLM's, and convolutions that write over their input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from baseline import BASELINE, baseline
from tflite_builder import RELU, SAME, TfliteBuilder

from cutlayer_boards.spec import board
from cutlayer_converter.arena import plan
from cutlayer_converter.graph import read_graph
from cutlayer_converter.measure import measure_head
from cutlayer_converter.verify import Oracle

CONVOLUTIONAL = ("kws", "resnet", "vww")
HEADS = ("rnd_head1", "rnd_head2", "rnd_head3", "rnd_head4")
MOST_OF_TFLM = {**dict.fromkeys(CONVOLUTIONAL, 0.65), **dict.fromkeys(HEADS, 0.5)}


@pytest.mark.parametrize("name", MOST_OF_TFLM)
def test_arena_is_a_part_of_tflms(name: str) -> None:
    theirs = json.loads((BASELINE / "figures.json").read_text())[name]["cmsis_nn"]["arena_bytes"]
    ours = plan(read_graph(baseline(name).tflite), "armv7e-m").arena_bytes
    assert ours <= MOST_OF_TFLM[name] * theirs


def convolution(kernel: tuple[int, int], stride: int, depth: int, channels: int) -> bytes:
    """A convolution of 8 x 8 x `depth`."""
    builder, generator = TfliteBuilder(), np.random.default_rng(3)
    size = -(-8 // stride)
    source = builder.activation((1, 8, 8, depth), 0.05, -3)
    output = builder.activation((1, size, size, channels), 0.04, -128)
    weights = generator.integers(-127, 128, (channels, *kernel, depth), np.int8)
    scales = np.full(channels, 0.002, np.float32)
    bias = builder.constant(np.zeros(channels, np.int32), scales * 0.05)
    operands = [source, builder.constant(weights, scales), bias]
    options = {"padding": SAME, "strideH": stride, "strideW": stride, "fusedActivationFunction": RELU}
    builder.operator("CONV_2D", operands, output, dilationHFactor=1, dilationWFactor=1, **options)
    return builder.build([source], [output])


IN_PLACE = [
    ((1, 1), 1, 4),
    ((3, 3), 1, 4),
    ((2, 2), 1, 4),
    ((5, 3), 1, 4),
    ((1, 4), 1, 4),
    ((3, 3), 2, 16),
    ((2, 3), 2, 16),
]


@pytest.mark.qemu
@pytest.mark.parametrize(("kernel", "stride", "channels"), IN_PLACE)
def test_a_convolution_of_its_inputs_bytes_writes_over_it(
    kernel: tuple[int, int], stride: int, channels: int
) -> None:
    tflite = convolution(kernel, stride, 4, channels)
    step = plan(read_graph(tflite), "armv7e-m").steps[0]
    assert (step.lowered.kernel, step.output_offset) == ("cl_conv2d_armv7em", step.input_offset)
    samples = np.random.default_rng(4).integers(-128, 128, (3, 8, 8, 4), np.int8)
    found, oracle = measure_head(tflite, samples, board("qemu_mps2_an386"), "armv7e-m"), Oracle(tflite)
    for sample, output in zip(samples, found.outputs, strict=True):
        oracle.run(sample[None])
        np.testing.assert_array_equal(
            output.reshape(-1), oracle.tensor(step.lowered.output.index).reshape(-1)
        )


@pytest.mark.parametrize(("kernel", "stride", "channels"), [((1, 1), 2, 16), ((3, 3), 1, 6)])
def test_another_one_does_not(kernel: tuple[int, int], stride: int, channels: int) -> None:
    """A stride that its kernel does not reach over, or more outputs than inputs."""
    step = plan(read_graph(convolution(kernel, stride, 4, channels)), "armv7e-m").steps[0]
    ends = step.input_offset + step.lowered.input.count, step.output_offset + step.lowered.output.count
    assert step.input_offset >= ends[1] or step.output_offset >= ends[0]


def test_a_trainable_layer_keeps_its_input() -> None:
    step = plan(read_graph(convolution((3, 3), 1, 4, 4)), "armv7e-m", trainable_end=True).steps[0]
    assert abs(step.output_offset - step.input_offset) >= 256
