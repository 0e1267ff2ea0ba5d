// Rows of convolutions.
#include "kernels/conv_rows.h"

void cl_conv2d_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                    int8_t *scratch, uint16_t first, uint16_t count)
{
    cl_conv_rows(cl_conv2d, params, input, begin, output, scratch, first, count);
}

void cl_depthwise_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                       int8_t *scratch, uint16_t first, uint16_t count)
{
    cl_conv_rows(cl_depthwise, params, input, begin, output, scratch, first, count);
}
