// Sum of two tensors of one shape: the plain kernel's arithmetic with roundings and zero points
// worked out ahead. An operand's shifted value is under 2^29, and twice the sum of both under 2^31.
#include "cutlayer/kernels_long.h"

#include "kernels/long/product.h"

// `twice` / 2 times a multiplier, rounded, and then shifted; `rounding` may hold a zero point.
static inline int32_t scaled(int32_t twice, int32_t multiplier, int32_t rounding, int32_t shift)
{
    const int32_t high = cl_high_rounded(twice, multiplier);
    return (high + (high >> 31) + rounding) >> shift;
}

CL_IN_ORDER void cl_add_long(const void *params, const int8_t *input, const int8_t *second,
                             int8_t *output, int8_t *scratch)
{
    // A copy, because writing int8 outputs might change what the pointer points to.
    const struct cl_packed_add_params p = *(const struct cl_packed_add_params *)params;
    // The operand of the larger scale: half of it, exactly.
    const int8_t *half = p.second_is_half ? second : input;
    const int8_t *other = p.second_is_half ? input : second;
    const int32_t output_rounding = p.output_rounding + ((int32_t)128 << p.output_shift);
    (void)scratch;
    for (int8_t *y = output, *const end = output + p.count; y != end; y++, half++, other++) {
        const int32_t twice = p.zero + *other * ((int32_t)1 << 21);
        const int32_t sum = scaled(twice, p.multiplier, p.rounding, p.shift) +
                            *half * ((int32_t)1 << 19) + p.half_zero;
        *y = cl_saturated(scaled(2 * sum, p.output_multiplier, output_rounding, p.output_shift));
    }
    cl_clamp_outputs(output, p.count, p.activation_min, p.activation_max);
}
