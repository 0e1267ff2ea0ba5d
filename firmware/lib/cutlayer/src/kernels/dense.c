// Fully connected layer: a row of input (or several, one a position) against four channels at a
// time.
#include "cutlayer/kernels.h"

#include "kernels/dot.h"
#include "requantize.h"

static inline int8_t requantize(const struct cl_conv_params *p, int32_t sum, uint32_t channel)
{
    const int32_t scaled = cl_multiply(sum, p->multiplier[channel], p->shift[channel]);
    return cl_clamp(scaled + p->output_zero_point, p->activation_min, p->activation_max);
}

static void one_row(const struct cl_conv_params *p, const int8_t *input, int8_t *output)
{
    const uint32_t count = p->input.channels;
    const uint32_t channels = p->output.channels;
    const int32_t offset = -(int32_t)p->input_zero_point;
    uint32_t o = 0;
    for (; o + 4 <= channels; o += 4) {
        int32_t sum[4] = {p->bias[o], p->bias[o + 1], p->bias[o + 2], p->bias[o + 3]};
        cl_dot_4x1(p->weights + o * count, count, input, count, offset, sum);
        for (uint32_t i = 0; i < 4; i++) {
            output[o + i] = requantize(p, sum[i], o + i);
        }
    }
    for (; o < channels; o++) {
        const int32_t sum = p->bias[o] + cl_dot(p->weights + o * count, input, count, offset);
        output[o] = requantize(p, sum, o);
    }
}

void cl_dense(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
              int8_t *scratch)
{
    const struct cl_conv_params *p = params;
    const uint32_t rows = (uint32_t)p->input.height * p->input.width;
    (void)second;
    (void)scratch;
    for (uint32_t row = 0; row < rows; row++) {
        one_row(p, input + row * p->input.channels, output + row * p->output.channels);
    }
}
