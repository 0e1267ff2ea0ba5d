// Two products of bytes in one 32 x 32-bit multiplication that adds to 64 bits, and their
// requantization.
//
// Weights and inputs are taken as bytes 0 to 255: u = w + 128, v = x + 128. Of four inputs with
// their weights, u0 + 2^24 u3 times v3 + 2^24 v0 is
//
//     u0 v3  +  2^24 (u0 v0 + u3 v3)  +  2^48 u3 v0
//
// and u2 + 2^24 u1 times v1 + 2^24 v2 has u1 v1 + u2 v2 in the middle. Sums of such products begin
// with -128 sum v in the middle field, which then ends as sum w v. It is read as 24 bits with a
// sign: what left it belongs to the upper field, which nobody reads. So two things must hold, which
// the converter makes sure of for the weights of each channel: |sum w v| < 2^23, and the lower
// field, the sum of all u0 v3 and u2 v1, stays below 2^24. What sum w x lacks, -128 sum w, is in
// the bias.
#ifndef CUTLAYER_LONG_PRODUCT_H
#define CUTLAYER_LONG_PRODUCT_H

#include <stdint.h>

#include "kernels/own_registers.h"

// GCC likes to add up products first and then adds them to the sum, to load all before it
// multiplies, and to work out anew after a loop where its pointers are. All take more instructions,
// and registers that are not there.
#if defined(__GNUC__) && !defined(__clang__)
#define CL_IN_ORDER                                                                                \
    __attribute__((                                                                                \
        optimize("no-tree-reassoc", "no-schedule-insns", "no-tree-scev-cprop", "no-ivopts")))
#else
#define CL_IN_ORDER
#endif

// Bytes 0 and 3 of a word, and bytes 2 and 1.
static inline uint32_t cl_outer_bytes(uint32_t word)
{
    return word & 0xFF0000FFu;
}

static inline uint32_t cl_inner_bytes(uint32_t word)
{
    return (word >> 16 | word << 16) & 0xFF0000FFu;
}

// Twice the sum in the middle field.
static inline uint32_t cl_twice_middle(uint64_t sums)
{
    return (uint32_t)((int32_t)(uint32_t)(sums >> 16) >> 8) * 2u;
}

// Packs `lines` lines, `pitch` bytes apart, of `words` times four inputs: of each four both
// factors, `step` words from one four to the next. Returns the sum of v.
CL_OWN_REGISTERS static uint32_t cl_pack_long(const int8_t *line, uint32_t pitch, uint32_t lines,
                                              uint32_t words, uint32_t *packed, uint32_t step)
{
    uint64_t sums = 0;
    for (; lines > 0; lines--, line += pitch) {
        const int8_t *x = line;
        for (const int8_t *const end = x + 4 * words; x != end; x += 4, packed += step) {
            // Compilers make one load of it, and one reversal.
            const uint32_t reversed =
                ((uint32_t)(uint8_t)x[3] | (uint32_t)(uint8_t)x[2] << 8 |
                 (uint32_t)(uint8_t)x[1] << 16 | (uint32_t)(uint8_t)x[0] << 24) ^
                0x80808080u;
            packed[0] = cl_outer_bytes(reversed);
            packed[1] = cl_inner_bytes(reversed);
            // Bytes 0 below, bytes 3 in what is above.
            sums += packed[0];
            sums += packed[1];
        }
    }
    return ((uint32_t)sums & 0xFFFFFFu) + (uint32_t)(sums >> 24);
}

// What sums of products begin with.
static inline uint64_t cl_long_start(uint32_t sum_of_v)
{
    return (uint64_t)(0u - 128u * sum_of_v) << 24;
}

// gemmlowp's saturating rounding doubling high multiply of `twice` / 2, when twice that does not
// overflow.
static inline int32_t cl_high_rounded(int32_t twice, int32_t multiplier)
{
    return (int32_t)(((int64_t)twice * multiplier + ((int64_t)1 << 31)) >> 32);
}

// value - 128 as an int8, saturated: from 128 up each end takes an instruction or two.
static inline int8_t cl_saturated(int32_t value)
{
    value = value > 0 ? value : 0;
    value |= (255 - value) >> 31;
    return (int8_t)((uint32_t)value ^ 0x80u);
}

// The output of a channel from 2 * (sum + bias), which the converter makes sure fits. `channel` is
// its row of cl_packed_params.channels, but its rounding holds 128 too.
static inline int8_t cl_long_output(uint32_t twice, const int32_t channel[4])
{
    const int32_t high = cl_high_rounded((int32_t)twice, channel[1]);
    return cl_saturated((high + (high >> 31) + channel[2]) >> channel[3]);
}

// Clamps `count` outputs to a range that is not all of int8.
static inline void cl_clamp_outputs(int8_t *y, uint32_t count, int8_t low, int8_t high)
{
    if (low == INT8_MIN && high == INT8_MAX) {
        return;
    }
    for (int8_t *const end = y + count; y != end; y++) {
        const int8_t most = *y < high ? *y : high;
        *y = most > low ? most : low;
    }
}

#endif
