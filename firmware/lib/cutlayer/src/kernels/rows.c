// Rows of convolutions.
#include "kernels/rows.h"

#include "cutlayer/kernels.h"

#include <stddef.h>

static void run(cl_kernel kernel, const void *params, const int8_t *input, uint16_t begin,
                int8_t *output, int8_t *scratch, uint16_t first, uint16_t count)
{
    struct cl_conv_params part = *(const struct cl_conv_params *)params;
    const struct cl_rows rows = {first, count, part.kernel_height, part.stride_height};
    const uint16_t below = cl_rows_below(rows, &part.input, &part.pad_top);
    part.output.height = count;
    kernel(&part, input + (uint32_t)(below - begin) * cl_shape_row(part.input), NULL, output,
           scratch);
}

void cl_conv2d_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                    int8_t *scratch, uint16_t first, uint16_t count)
{
    run(cl_conv2d, params, input, begin, output, scratch, first, count);
}

void cl_depthwise_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                       int8_t *scratch, uint16_t first, uint16_t count)
{
    run(cl_depthwise, params, input, begin, output, scratch, first, count);
}
