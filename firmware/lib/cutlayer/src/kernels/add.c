// Sum of two tensors of other scales: both are brought to twice the larger one, with 20 bits below
// the point, and added there.
#include "cutlayer/kernels.h"

#include "requantize.h"

#define LEFT_SHIFT 20

void cl_add(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
            int8_t *scratch)
{
    // A copy, because writing int8 outputs might change what the pointer points to.
    const struct cl_add_params p = *(const struct cl_add_params *)params;
    const int8_t *other = p.constant ? p.constant : second;
    (void)scratch;
    for (uint32_t start = 0; start < p.count; start += p.second_count) {
        for (uint32_t i = 0; i < p.second_count; i++) {
            const int32_t a = (input[start + i] - p.input_zero_point) * ((int32_t)1 << LEFT_SHIFT);
            const int32_t b = (other[i] - p.second_zero_point) * ((int32_t)1 << LEFT_SHIFT);
            const int32_t sum = cl_multiply(a, p.input_multiplier, p.input_shift) +
                                cl_multiply(b, p.second_multiplier, p.second_shift);
            const int32_t scaled = cl_multiply(sum, p.output_multiplier, p.output_shift);
            output[start + i] =
                cl_clamp(scaled + p.output_zero_point, p.activation_min, p.activation_max);
        }
    }
}
