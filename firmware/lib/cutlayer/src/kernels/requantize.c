// A new scale and zero point, then a clamp.
#include "requantize.h"

#include "cutlayer/kernels.h"

void cl_requantize(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                   int8_t *scratch)
{
    const struct cl_requantize_params *p = params;
    (void)second;
    (void)scratch;
    for (uint32_t i = 0; i < p->count; i++) {
        const int32_t scaled = cl_multiply(input[i] - p->input_zero_point, p->multiplier, p->shift);
        output[i] = cl_clamp(scaled + p->output_zero_point, p->activation_min, p->activation_max);
    }
}
