// The inner loops of convolution for Armv7E-M: two or three positions against two output channels
// at a time.
//
// Two channels a and b share a halfword 256 a + b, which fits as |a|, |b| <= 127. SMLAD of such
// halfwords sums 256 A + B, and SMLAD of their low bytes (SXTB16) sums B; so A comes back by a
// subtraction and a shift, and one SXTB16 serves four weights. The converter makes sure that
// |A| < 2^23.
//
// Requantization: SMMULR(2 x, m) is gemmlowp's saturating rounding doubling high multiply when 2 x
// does not overflow (the converter makes sure), and SMMLAR adds the rounding of the shift and the
// shifted zero point in the same instruction. Halves are then rounded up; "away" also takes
// one from what is negative, as RoundingDivideByPOT does. Under a ReLU both give the same.
#ifndef CUTLAYER_ARMV7EM_TILE_H
#define CUTLAYER_ARMV7EM_TILE_H

#include <stdint.h>

#if defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
#define CL_ARMV7EM 1
#endif

// Read by assembly: order and sizes matter.
struct cl_tile {
    uint32_t y_stride;       // bytes from a position's outputs to the next one's
    const int32_t *channels; // 2 * bias, multiplier, rounding, shift of each
    int8_t *y;
    const uint32_t *x;       // by four inputs: (0, 2) of each position, (1, 3) of each position
    const uint32_t *weights; // by pair of channels, by four inputs: (0, 2), (1, 3)
    uint32_t blocks;         // of four inputs, at least 1
    const int8_t *y_end;     // where y is after the last pair
    uint32_t away;
};

// All pairs of channels of a tile.
void cl_tile_of_2(const struct cl_tile *tile);
void cl_tile_of_3(const struct cl_tile *tile);

// Widens `lines` lines of `words` words to int16, for 2 or 3 positions `step` bytes apart; `skip`
// bytes lie between a line's end and the next one.
void cl_widen_2(uint32_t *x, const int8_t *first, uint32_t step, uint32_t words, uint32_t lines,
                uint32_t skip);
void cl_widen_3(uint32_t *x, const int8_t *first, uint32_t step, uint32_t words, uint32_t lines,
                uint32_t skip);

// Clamps `count` bytes to a range.
void cl_clamp_bytes(int8_t *bytes, uint32_t count, int8_t low, int8_t high);

#endif
