// Mean over height and width (global average pooling): a sum, then one multiplication.
#include "cutlayer/kernels.h"

#include "requantize.h"

void cl_mean(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
             int8_t *scratch)
{
    const struct cl_mean_params *p = params;
    const uint32_t positions = (uint32_t)p->input.height * p->input.width;
    const uint32_t channels = p->input.channels;
    (void)second;
    (void)scratch;
    for (uint32_t channel = 0; channel < channels; channel++) {
        const int8_t *x = input + channel;
        int32_t sum = -(int32_t)positions * p->input_zero_point;
        for (uint32_t position = 0; position < positions; position++, x += channels) {
            sum += *x;
        }
        const int32_t scaled = cl_multiply(sum, p->multiplier, p->shift);
        output[channel] = cl_clamp(scaled + p->output_zero_point, INT8_MIN, INT8_MAX);
    }
}
