// Rows of convolutions.
#include "kernels/rows.h"

#include "cutlayer/kernels.h"

#include <stddef.h>

static void run(cl_kernel kernel, const void *params, const int8_t *input, int8_t *output,
                int8_t *scratch, uint16_t first, uint16_t count)
{
    struct cl_conv_params part = *(const struct cl_conv_params *)params;
    input += cl_rows_above(&part.input, &part.pad_top, part.stride_height, first);
    part.output.height = count;
    kernel(&part, input, NULL, output, scratch);
}

void cl_conv2d_rows(const void *params, const int8_t *input, int8_t *output, int8_t *scratch,
                    uint16_t first, uint16_t count)
{
    run(cl_conv2d, params, input, output, scratch, first, count);
}

void cl_depthwise_rows(const void *params, const int8_t *input, int8_t *output, int8_t *scratch,
                       uint16_t first, uint16_t count)
{
    run(cl_depthwise, params, input, output, scratch, first, count);
}
