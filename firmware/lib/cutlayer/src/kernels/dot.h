// Dot products of int8 rows: the inner loops of convolution and fully connected layers, and their
// output. With ARM's SIMD32 instructions four bytes are taken at a time; sums of int32 are the same
// in any order.
#ifndef CUTLAYER_DOT_H
#define CUTLAYER_DOT_H

#include <stdint.h>
#include <string.h>

#include "cutlayer/kernels.h"
#include "kernels/own_registers.h"
#include "requantize.h"

#if defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_DSP) && defined(__GNUC__) &&            \
    !defined(CL_NO_SIMD32)
#define CL_SIMD32 1
#include <arm_acle.h>

static inline uint32_t cl_word(const int8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

// Bytes 0 and 2 of a word as two int16.
static inline int16x2_t cl_even(uint32_t word)
{
    return __sxtb16((int8x4_t)word);
}

// Bytes 1 and 3. The compiler does not find the rotated form of the instruction by itself.
static inline int16x2_t cl_odd(uint32_t word)
{
    int16x2_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

// The same, plus `pair`.
static inline int16x2_t cl_even_plus(int16x2_t pair, uint32_t word)
{
    return __sxtab16(pair, (int8x4_t)word);
}

static inline int16x2_t cl_odd_plus(int16x2_t pair, uint32_t word)
{
    int16x2_t halves;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(halves) : "r"(pair), "r"(word));
    return halves;
}

static inline int16x2_t cl_pair(int32_t value)
{
    return (int16x2_t)(((uint32_t)value & 0xFFFFu) * 0x10001u);
}
#endif

#define CL_DOT_STEP_2X2(i)                                                                         \
    {                                                                                              \
        const int32_t xa = x[i], xb = xs[i], wa = w[i], wb = ws[i];                                \
        s00 += wa * xa;                                                                            \
        s01 += wa * xb;                                                                            \
        s10 += wb * xa;                                                                            \
        s11 += wb * xb;                                                                            \
    }

// Two rows of weights against two rows of input, each pair `count` bytes apart:
// sum += {w0 x0, w0 x1, w1 x0, w1 x1}.
CL_OWN_REGISTERS static void cl_dot_2x2(const int8_t *w, const int8_t *x, uint32_t count,
                                        int32_t sum[4])
{
    const int8_t *end = x + count;
    int32_t s00 = sum[0], s01 = sum[1], s10 = sum[2], s11 = sum[3];
#if defined(CL_SIMD32)
    const int8_t *whole = x + (count & ~(uint32_t)3);
    while (x != whole) {
        const uint32_t xb = cl_word(x + count), xa = cl_word(x);
        const int16x2_t xa0 = cl_even(xa), xa1 = cl_odd(xa);
        const int16x2_t xb0 = cl_even(xb), xb1 = cl_odd(xb);
        const uint32_t wb = cl_word(w + count), wa = cl_word(w);
        const int16x2_t wb0 = cl_even(wb), wb1 = cl_odd(wb);
        s10 = __smlad(wb0, xa0, s10);
        s11 = __smlad(wb0, xb0, s11);
        s10 = __smlad(wb1, xa1, s10);
        s11 = __smlad(wb1, xb1, s11);
        const int16x2_t wa0 = cl_even(wa), wa1 = cl_odd(wa);
        s00 = __smlad(wa0, xa0, s00);
        s01 = __smlad(wa0, xb0, s01);
        s00 = __smlad(wa1, xa1, s00);
        s01 = __smlad(wa1, xb1, s01);
        x += 4;
        w += 4;
    }
#else
    // Four at a time: the loop itself would cost as much as half of the products.
    const int8_t *whole = x + (count & ~(uint32_t)3), *xs = x + count, *ws = w + count;
    for (; x != whole; x += 4, xs += 4, w += 4, ws += 4) {
        CL_DOT_STEP_2X2(0)
        CL_DOT_STEP_2X2(1)
        CL_DOT_STEP_2X2(2)
        CL_DOT_STEP_2X2(3)
    }
#endif
    while (x != end) {
        const int32_t xa = x[0], xb = x[count], wa = w[0], wb = w[count];
        s00 += wa * xa;
        s01 += wa * xb;
        s10 += wb * xa;
        s11 += wb * xb;
        x++;
        w++;
    }
    sum[0] = s00;
    sum[1] = s01;
    sum[2] = s10;
    sum[3] = s11;
}

// Four rows of weights, `count` bytes apart, one row of input: sum += w . (x + offset).
CL_OWN_REGISTERS static void cl_dot_4x1(const int8_t *w, const int8_t *x, uint32_t count,
                                        int32_t offset, int32_t sum[4])
{
    const int8_t *end = x + count;
    const uint32_t twice = 2 * count, thrice = 3 * count;
    int32_t s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
#if defined(CL_SIMD32)
    const int16x2_t pair = cl_pair(offset);
    const int8_t *whole = x + (count & ~(uint32_t)3);
    while (x != whole) {
        const uint32_t xw = cl_word(x);
        const int16x2_t x0 = cl_even_plus(pair, xw), x1 = cl_odd_plus(pair, xw);
        uint32_t word = cl_word(w);
        s0 = __smlad(cl_odd(word), x1, __smlad(cl_even(word), x0, s0));
        word = cl_word(w + count);
        s1 = __smlad(cl_odd(word), x1, __smlad(cl_even(word), x0, s1));
        word = cl_word(w + twice);
        s2 = __smlad(cl_odd(word), x1, __smlad(cl_even(word), x0, s2));
        word = cl_word(w + thrice);
        s3 = __smlad(cl_odd(word), x1, __smlad(cl_even(word), x0, s3));
        x += 4;
        w += 4;
    }
#endif
    while (x != end) {
        const int32_t value = *x + offset;
        s0 += *w * value;
        s1 += w[count] * value;
        s2 += w[twice] * value;
        s3 += w[thrice] * value;
        x++;
        w++;
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

// One row of weights, one row of input. Returns w . (x + offset).
static inline int32_t cl_dot(const int8_t *w, const int8_t *x, uint32_t count, int32_t offset)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += w[i] * (x[i] + offset);
    }
    return sum;
}

// The int8 output of one channel.
static inline int8_t cl_channel(const struct cl_conv_params *p, int32_t sum, uint32_t channel)
{
    const int32_t scaled = cl_multiply(sum, p->multiplier[channel], p->shift[channel]);
    return cl_clamp(scaled + p->output_zero_point, p->activation_min, p->activation_max);
}

// The int8 outputs of four channels. Written last: to the compiler an int8 might lie in `p`, which
// it would read again after each.
static inline void cl_four_channels(const struct cl_conv_params *p, const int32_t sum[4],
                                    uint32_t channel, int8_t *y)
{
    const int8_t y0 = cl_channel(p, sum[0], channel), y1 = cl_channel(p, sum[1], channel + 1);
    const int8_t y2 = cl_channel(p, sum[2], channel + 2), y3 = cl_channel(p, sum[3], channel + 3);
    y[0] = y0;
    y[1] = y1;
    y[2] = y2;
    y[3] = y3;
}

// All output channels of one row of input.
static inline void cl_one_row(const struct cl_conv_params *p, const int8_t *x, uint32_t count,
                              int8_t *y)
{
    const uint32_t channels = p->output.channels;
    const int32_t offset = -(int32_t)p->input_zero_point;
    uint32_t o = 0;
    for (; o + 4 <= channels; o += 4) {
        int32_t sum[4] = {p->bias[o], p->bias[o + 1], p->bias[o + 2], p->bias[o + 3]};
        cl_dot_4x1(p->weights + o * count, x, count, offset, sum);
        cl_four_channels(p, sum, o, y + o);
    }
    for (; o < channels; o++) {
        const int32_t sum = p->bias[o] + cl_dot(p->weights + o * count, x, count, offset);
        y[o] = cl_channel(p, sum, o);
    }
}

#endif
