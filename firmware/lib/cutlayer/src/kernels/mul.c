// Product of two tensors.
#include "cutlayer/kernels.h"

#include "requantize.h"

void cl_mul(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
            int8_t *scratch)
{
    const struct cl_mul_params *p = params;
    const int8_t *other = p->constant ? p->constant : second;
    (void)scratch;
    for (uint32_t start = 0; start < p->count; start += p->second_count) {
        for (uint32_t i = 0; i < p->second_count; i++) {
            const int32_t a = input[start + i] - p->input_zero_point;
            const int32_t b = other[i] - p->second_zero_point;
            const int32_t scaled = cl_multiply(a * b, p->multiplier, p->shift);
            output[start + i] =
                cl_clamp(scaled + p->output_zero_point, p->activation_min, p->activation_max);
        }
    }
}
