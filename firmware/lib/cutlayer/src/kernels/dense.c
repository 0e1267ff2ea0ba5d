// Fully connected layer: a row of input, or several, one a position.
#include "cutlayer/kernels.h"

#include "kernels/dot.h"

void cl_dense(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
              int8_t *scratch)
{
    const struct cl_conv_params *p = params;
    const uint32_t rows = (uint32_t)p->input.height * p->input.width;
    (void)second;
    (void)scratch;
    for (uint32_t row = 0; row < rows; row++) {
        cl_one_row(p, input + row * p->input.channels, p->input.channels,
                   output + row * p->output.channels);
    }
}
