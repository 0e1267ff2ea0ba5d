// Requantization: an int32 accumulator times a real multiplier, back to int8.
//
// Source: gemmlowp's fixed point (SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT), as
// TFLite's MultiplyByQuantizedMultiplier with double rounding. Real multiplier = multiplier *
// 2^(shift - 31), and 2^30 <= multiplier < 2^31, or 0.
#ifndef CUTLAYER_REQUANTIZE_H
#define CUTLAYER_REQUANTIZE_H

#include <stdint.h>

// x * multiplier * 2^(shift - 31). shift > 0 is a left shift; -31 <= shift <= 30, multiplier >= 0.
// A left shift out of 32 bits wraps, as TFLM does on every machine it runs on.
static inline int32_t cl_multiply(int32_t x, int32_t multiplier, int8_t shift)
{
    if (shift > 0) {
        x = (int32_t)((uint32_t)x << shift);
    }
    // gemmlowp's nudge and truncating division together are one floor of (product + half), for
    // either sign.
    const int32_t high = (int32_t)(((int64_t)x * multiplier + ((int64_t)1 << 30)) >> 31);
    if (shift >= 0) {
        return high;
    }
    // Half away from zero is half up of what is one less when negative. The 1 cannot overflow:
    // `high` is at most 2^31 - 2.
    const int32_t less = high + (high >> 31);
    return ((less >> (-shift - 1)) + 1) >> 1;
}

static inline int8_t cl_clamp(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)(x < low ? low : x > high ? high : x);
}

#endif
