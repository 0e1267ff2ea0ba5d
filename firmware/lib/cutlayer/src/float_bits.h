// float32 in integers: what has to come out the same on machines whose own float is not all of IEEE
// 754 (AVR: no 64-bit double, and quotients below 2^-126 are truncated).
#ifndef CUTLAYER_FLOAT_BITS_H
#define CUTLAYER_FLOAT_BITS_H

#include <string.h>

#include "cutlayer/error.h"

static inline uint32_t cl_float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// By the bits, so that no compiler flag changes it.
static inline int cl_is_finite(float x)
{
    return (cl_float_bits(x) & 0x7F800000u) != 0x7F800000u;
}

// Above 0, and finite.
static inline int cl_is_positive(float x)
{
    return cl_float_bits(x) > 0 && cl_float_bits(x) < 0x7F800000u;
}

// TFLM's QuantizeMultiplier of a * b / c in doubles: multiplier * 2^(shift - 31), both 0 below
// 2^-32. Returns CL_ERROR_VALUE, and changes nothing, when one of the three is negative or not
// finite, c is 0, or the result is 2^30 and more.
int32_t cl_quantize_multiplier(float a, float b, float c, int32_t *multiplier,
                               int8_t *shift) CL_CHECK_RESULT;

// x / y, rounded to nearest and halves to even, where |x / y| < 2^-126; both finite, y not 0.
float cl_divide_to_subnormal(float x, float y);

// x / y as IEEE 754 has it.
static inline float cl_divide(float x, float y)
{
#if defined(__AVR__)
    const float quotient = x / y;
    const int small = (cl_float_bits(quotient) & 0x7F800000u) == 0;
    return small && x != 0.0f && cl_is_finite(y) ? cl_divide_to_subnormal(x, y) : quotient;
#else
    return x / y;
#endif
}

#endif
