"""Random heads: operators one after another, residual blocks, a flat end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from kernel_cases import int8_values, output_size
from tflite_builder import NONE, RELU, RELU6, SAME, VALID, TfliteBuilder

if TYPE_CHECKING:
    from collections.abc import Callable


class RandomHead:
    """A head that grows an operator at a time; every choice is drawn.

    With `common` its convolutions are mostly of the shapes for which a processor has kernels of its own.
    """

    def __init__(self, draw: st.DrawFn, *, common: bool = False) -> None:
        self._draw, self._common = draw, common
        self._generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self._builder = TfliteBuilder()
        self.shape = tuple(draw(st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(1, 6))))
        self._scale, self._zero = 0.05, draw(st.integers(-128, 127))
        self._source = self._last = self._activation(self.shape)

    def grow(self) -> None:
        """Adds one operator or one residual block."""
        self._draw(st.sampled_from(self._moves()))()

    def model(self) -> tuple[bytes, list[np.ndarray[Any, Any]]]:
        shape = tuple(self._builder.shape(self._source))
        samples = [int8_values(self._generator, shape, extreme) for extreme in (False, True)]
        return self._builder.build([self._source], [self._last]), samples

    def _moves(self) -> list[Callable[[], None]]:
        if len(self.shape) == 1:
            return [self._dense, self._relu]
        moves = [self.convolution, self.depthwise, self._pool, self._relu, self._pad, self._flatten]
        return [*moves, self._residual, self._residual]

    def _activation(self, shape: tuple[int, ...]) -> int:
        return self._builder.activation((1, *shape), self._scale, self._zero)

    def _finish(self, kind: str, inputs: list[int], shape: tuple[int, ...], **options: Any) -> None:
        self.shape = shape
        self._last = self._builder.operator(kind, inputs, self._activation(shape), **options)

    def _weights(self, shape: tuple[int, ...], axis: int) -> list[int]:
        # TFLite's weights are symmetric; kernels that need it are chosen for those that are.
        low = self._draw(st.sampled_from([-127, -127, -128]))
        values = np.maximum(int8_values(self._generator, shape, False), np.int8(low))
        fan_in = max(values.size // shape[axis], 1)
        scales = np.float32(self._generator.uniform(0.5, 1.0, shape[axis]) * 0.02 / np.sqrt(fan_in))
        bias = self._generator.integers(-500, 500, shape[axis], np.int32)
        return [
            self._builder.constant(values, scales, 0, axis),
            self._builder.constant(bias, np.float32(scales * self._scale)),
        ]

    def _window(self) -> tuple[tuple[int, int], tuple[int, ...], dict[str, int]]:
        draw = self._draw
        size, padding = self.shape[:2], draw(st.sampled_from([SAME, VALID]))
        kernel = tuple(min(draw(st.integers(1, 4)), each) for each in size)
        stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        if self._common and min(size) >= 3:
            kernel, stride = draw(st.sampled_from([(1, 1), (3, 3), (3, 3)])), stride[:1] * 2
        result = tuple(output_size(padding, *each) for each in zip(size, kernel, stride, strict=True))
        return kernel, result, {"padding": padding, "strideH": stride[0], "strideW": stride[1]}

    def _activation_option(self) -> dict[str, int]:
        return {"fusedActivationFunction": self._draw(st.sampled_from([NONE, RELU, RELU6]))}

    def convolution(self) -> None:
        kernel, size, options = self._window()
        count = 4 * self._draw(st.integers(1, 4)) if self._common else self._draw(st.integers(1, 13))
        inputs = [self._last, *self._weights((count, *kernel, self.shape[2]), 0)]
        dilation = {"dilationHFactor": 1, "dilationWFactor": 1}
        self._finish("CONV_2D", inputs, (*size, count), **options, **dilation, **self._activation_option())

    def depthwise(self) -> None:
        kernel, size, options = self._window()
        multiplier = 1 if self._common else self._draw(st.sampled_from([1, 1, 2]))
        count = self.shape[2] * multiplier
        inputs = [self._last, *self._weights((1, *kernel, count), 3)]
        options |= {"dilationHFactor": 1, "dilationWFactor": 1, "depthMultiplier": multiplier}
        self._finish("DEPTHWISE_CONV_2D", inputs, (*size, count), **options, **self._activation_option())

    def _pool(self) -> None:
        kernel, size, options = self._window()
        kind = self._draw(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
        options |= {"filterHeight": kernel[0], "filterWidth": kernel[1]}
        self._finish(kind, [self._last], (*size, self.shape[2]), **options, **self._activation_option())

    def _pad(self) -> None:
        pads = self._draw(st.tuples(*[st.integers(0, 2)] * 4))
        shape = (self.shape[0] + sum(pads[:2]), self.shape[1] + sum(pads[2:]), self.shape[2])
        values = np.array([[0, 0], pads[:2], pads[2:], [0, 0]], np.int32)
        self._finish("PAD", [self._last, self._builder.constant(values)], shape)

    def _relu(self) -> None:
        self._finish("RELU", [self._last], self.shape)

    def _residual(self) -> None:
        shortcut, shape = self._last, self.shape
        options = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        for _ in range(self._draw(st.integers(1, 2))):
            kernel = self._draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            inputs = [self._last, *self._weights((shape[2], *kernel, shape[2]), 0)]
            self._finish("CONV_2D", inputs, shape, **options, **self._activation_option())
        if self._draw(st.booleans()):
            self._relu()
        both = self._draw(st.permutations([shortcut, self._last]))
        self._finish("ADD", both, shape, **self._activation_option())

    def _flatten(self) -> None:
        count = int(np.prod(self.shape))
        shape = self._builder.constant(np.array([1, count], np.int32))
        self._finish("RESHAPE", [self._last, shape], (count,))

    def _dense(self) -> None:
        count = self._draw(st.integers(1, 20))
        inputs = [self._last, *self._weights((count, self.shape[0]), 0)]
        self._finish("FULLY_CONNECTED", inputs, (count,), **self._activation_option())


@st.composite
def random_heads(draw: st.DrawFn) -> tuple[bytes, list[np.ndarray[Any, Any]]]:
    head = RandomHead(draw)
    head.convolution()
    for _ in range(draw(st.integers(0, 9))):
        head.grow()
    return head.model()


@st.composite
def convolution_chains(draw: st.DrawFn) -> tuple[bytes, list[np.ndarray[Any, Any]]]:
    """Convolutions and depthwise convolutions and nothing else, at least two."""
    head = RandomHead(draw, common=draw(st.booleans()))
    head.convolution()
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from([head.convolution, head.depthwise]))()
    return head.model()
