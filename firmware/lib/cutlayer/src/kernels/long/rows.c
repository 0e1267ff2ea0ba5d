// Rows of convolutions with long multiplications.
#include "cutlayer/kernels_long.h"

#include "kernels/packed_rows.h"

void cl_conv2d_long_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                         int8_t *scratch, uint16_t first, uint16_t count)
{
    cl_packed_rows(cl_conv2d_long, params, input, begin, output, scratch, first, count);
}

void cl_depthwise_long_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                            int8_t *scratch, uint16_t first, uint16_t count)
{
    cl_packed_rows(cl_depthwise_long, params, input, begin, output, scratch, first, count);
}
