// Rows of kernels with cl_conv_params.
#ifndef CUTLAYER_CONV_ROWS_H
#define CUTLAYER_CONV_ROWS_H

#include <stddef.h>

#include "cutlayer/kernels.h"
#include "kernels/rows.h"

static inline void cl_conv_rows(cl_kernel kernel, const void *params, const int8_t *input,
                                uint16_t begin, int8_t *output, int8_t *scratch, uint16_t first,
                                uint16_t count)
{
    struct cl_conv_params part = *(const struct cl_conv_params *)params;
    const struct cl_rows rows = {first, count, part.kernel_height, part.stride_height};
    input += cl_take_rows(rows, begin, &part.input, &part.output, &part.pad_top);
    kernel(&part, input, NULL, output, scratch);
}

#endif
