"""SOFTMAX over the last dimension. The exponentials are a table of at most 256 entries.

Source: TFLM's int8 softmax and gemmlowp's exp_on_negative_values, in the same fixed point.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_converter.ops.lowered import Lowered, int8_input, int8_output, refuse, shape_of
from cutlayer_converter.ops.multiplier import quantize_multiplier

if TYPE_CHECKING:
    from cutlayer_converter.graph import Graph, Operator

INTEGER_BITS = 5  # of a difference to the maximum
FRACTION_BITS = 31 - INTEGER_BITS
INT32_MAX = 2**31 - 1
# exp(-2^k) in Q0.31 for k from -2 to 4.
EXP_OF_MINUS_POWER = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
EXP_OF_MINUS_EIGHTH = 1895147668
ONE_THIRD = 715827883


def lower(graph: Graph, operator: Operator) -> Lowered:
    """Checks a softmax and works out its parameters."""
    source, output = int8_input(graph, operator), int8_output(graph, operator)
    height, width, channels = shape_of(graph, operator, source)
    if source.count != output.count or channels >= 4096:
        reason = f"it takes {source.shape} to {output.shape}"
        refuse(graph, operator, reason, "use softmax over less than 4096 classes")
    if output.scale != np.float32(1 / 256) or output.zero_point != -128:
        reason = f"its output has scale {output.scale} and zero point {output.zero_point}, not 1/256 and -128"
        refuse(graph, operator, reason, "convert the Keras model again")
    real = float(operator.options["beta"]) * float(source.scale) * 2.0**FRACTION_BITS
    if real <= 1.0:
        refuse(graph, operator, f"its input's scale {source.scale} is too small", "calibrate with real data")
    table = exp_table(min(real, INT32_MAX))
    return Lowered(
        operator=operator,
        kernel="cl_softmax",
        params_type="cl_softmax_params",
        params={
            "rows": height * width,
            "channels": channels,
            "exp_count": len(table),
            "exp_table": table,
        },
        input=source,
        second=None,
        output=output,
        in_place=True,
    )


def exp_table(real: float) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The table of exp(-d * real / 2^26) in Q0.31, for differences d from 0 as far as they count."""
    multiplier, shift = quantize_multiplier(real)
    radius = math.floor(((1 << INTEGER_BITS) - 1) * 2.0**FRACTION_BITS / 2.0**shift)
    values = []
    for difference in range(min(radius, 255) + 1):
        scaled = _multiply(_wrap(-difference << shift), multiplier)
        values.append(_exp(scaled))
    return np.array(values, np.int32)


def _exp(value: int) -> int:
    """The exponential of a Q5.26 number <= 0, as Q0.31."""
    if value == 0:
        return INT32_MAX
    quarter = 1 << (FRACTION_BITS - 2)
    remainder = (value & (quarter - 1)) - quarter
    result = _exp_near_zero(remainder << INTEGER_BITS)
    powers = remainder - value
    for bit, factor in enumerate(EXP_OF_MINUS_POWER, start=FRACTION_BITS - 2):
        if powers >> bit & 1:
            result = _multiply(result, factor)
    return result


def _exp_near_zero(value: int) -> int:
    """The exponential of a Q0.31 number in [-1/4, 0): a Taylor series around -1/8."""
    x = value + (1 << 28)
    x2 = _multiply(x, x)
    x3 = _multiply(x2, x)
    x4_over_4 = _shift_right(_multiply(x2, x2), 2)
    higher = _shift_right(_multiply(x4_over_4 + x3, ONE_THIRD) + x2, 1)
    return EXP_OF_MINUS_EIGHTH + _multiply(EXP_OF_MINUS_EIGHTH, x + higher)


def _multiply(a: int, b: int) -> int:
    """The saturating rounding doubling high multiply (its one saturating case does not occur)."""
    return (a * b + (1 << 30)) >> 31


def _shift_right(value: int, bits: int) -> int:
    """Rounding half away from zero."""
    half = 1 << (bits - 1)
    return (value + half) >> bits if value >= 0 else -((-value + half) >> bits)


def _wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31
