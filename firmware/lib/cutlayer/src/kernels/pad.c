// Padding of height and width with a constant.
#include "cutlayer/kernels.h"

#include <string.h>

void cl_pad(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
            int8_t *scratch)
{
    const struct cl_pad_params *p = params;
    const uint32_t channels = p->input.channels;
    const uint32_t input_row = p->input.width * channels;
    const uint32_t output_row = p->output.width * channels;
    (void)second;
    (void)scratch;
    memset(output, p->value, (size_t)(output_row * p->output.height));
    output += p->pad_top * output_row + p->pad_left * channels;
    for (uint32_t row = 0; row < p->input.height; row++) {
        memcpy(output + row * output_row, input + row * input_row, (size_t)input_row);
    }
}
