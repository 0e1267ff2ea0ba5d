// Dot products of int8 rows: the inner loops of convolution and fully connected layers.
//
// sum[..] += w . (x + offset), where offset is minus the zero point of x. With ARM's SIMD32
// instructions four bytes are taken at a time; sums of int32 are the same in any order.
#ifndef CUTLAYER_DOT_H
#define CUTLAYER_DOT_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>

static inline uint32_t cl_word(const int8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

// Bytes 0 and 2, then bytes 1 and 3 of a word as two int16 each.
static inline int16x2_t cl_even(uint32_t word)
{
    return __sxtb16((int8x4_t)word);
}

static inline int16x2_t cl_odd(uint32_t word)
{
    return __sxtb16((int8x4_t)(word >> 8 | word << 24));
}

static inline int16x2_t cl_even_plus(int16x2_t offset, uint32_t word)
{
    return __sxtab16(offset, (int8x4_t)word);
}

static inline int16x2_t cl_odd_plus(int16x2_t offset, uint32_t word)
{
    return __sxtab16(offset, (int8x4_t)(word >> 8 | word << 24));
}

static inline int16x2_t cl_pair(int32_t value)
{
    return (int16x2_t)(((uint32_t)value & 0xFFFFu) * 0x10001u);
}
#endif

// Two rows of weights, two rows of input: sum = {w0 x0, w0 x1, w1 x0, w1 x1}.
static inline void cl_dot_2x2(const int8_t *w0, const int8_t *w1, const int8_t *x0,
                              const int8_t *x1, uint32_t count, int32_t offset, int32_t sum[4])
{
    int32_t s00 = sum[0], s01 = sum[1], s10 = sum[2], s11 = sum[3];
    uint32_t i = 0;
#if defined(__ARM_FEATURE_SIMD32)
    const int16x2_t pair = cl_pair(offset);
    for (; i + 4 <= count; i += 4) {
        const uint32_t xa = cl_word(x0 + i), xb = cl_word(x1 + i);
        const int16x2_t xa0 = cl_even_plus(pair, xa), xa1 = cl_odd_plus(pair, xa);
        const int16x2_t xb0 = cl_even_plus(pair, xb), xb1 = cl_odd_plus(pair, xb);
        const uint32_t wa = cl_word(w0 + i), wb = cl_word(w1 + i);
        int16x2_t w = cl_even(wa);
        s00 = __smlad(w, xa0, s00);
        s01 = __smlad(w, xb0, s01);
        w = cl_odd(wa);
        s00 = __smlad(w, xa1, s00);
        s01 = __smlad(w, xb1, s01);
        w = cl_even(wb);
        s10 = __smlad(w, xa0, s10);
        s11 = __smlad(w, xb0, s11);
        w = cl_odd(wb);
        s10 = __smlad(w, xa1, s10);
        s11 = __smlad(w, xb1, s11);
    }
#endif
    for (; i < count; i++) {
        const int32_t xa = x0[i] + offset, xb = x1[i] + offset;
        s00 += (int32_t)w0[i] * xa;
        s01 += (int32_t)w0[i] * xb;
        s10 += (int32_t)w1[i] * xa;
        s11 += (int32_t)w1[i] * xb;
    }
    sum[0] = s00;
    sum[1] = s01;
    sum[2] = s10;
    sum[3] = s11;
}

// Four rows of weights, `stride` bytes apart, one row of input.
static inline void cl_dot_4x1(const int8_t *w, uint32_t stride, const int8_t *x, uint32_t count,
                              int32_t offset, int32_t sum[4])
{
    const int8_t *w0 = w, *w1 = w + stride, *w2 = w1 + stride, *w3 = w2 + stride;
    int32_t s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
    uint32_t i = 0;
#if defined(__ARM_FEATURE_SIMD32)
    const int16x2_t pair = cl_pair(offset);
    for (; i + 4 <= count; i += 4) {
        const uint32_t xw = cl_word(x + i);
        const int16x2_t xe = cl_even_plus(pair, xw), xo = cl_odd_plus(pair, xw);
        uint32_t word = cl_word(w0 + i);
        s0 = __smlad(cl_odd(word), xo, __smlad(cl_even(word), xe, s0));
        word = cl_word(w1 + i);
        s1 = __smlad(cl_odd(word), xo, __smlad(cl_even(word), xe, s1));
        word = cl_word(w2 + i);
        s2 = __smlad(cl_odd(word), xo, __smlad(cl_even(word), xe, s2));
        word = cl_word(w3 + i);
        s3 = __smlad(cl_odd(word), xo, __smlad(cl_even(word), xe, s3));
    }
#endif
    for (; i < count; i++) {
        const int32_t value = x[i] + offset;
        s0 += (int32_t)w0[i] * value;
        s1 += (int32_t)w1[i] * value;
        s2 += (int32_t)w2[i] * value;
        s3 += (int32_t)w3[i] * value;
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

// One row of weights, one row of input. Returns the dot product.
static inline int32_t cl_dot(const int8_t *w, const int8_t *x, uint32_t count, int32_t offset)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += (int32_t)w[i] * (x[i] + offset);
    }
    return sum;
}

#endif
