// Rows of convolutions for Armv7E-M.
#include "kernels/rows.h"

#include "cutlayer/kernels_armv7em.h"

#include <stddef.h>

#include "kernels/armv7em/tile.h"

#if defined(CL_ARMV7EM)
static void run(cl_kernel kernel, const void *params, const int8_t *input, int8_t *output,
                int8_t *scratch, uint16_t first, uint16_t count)
{
    struct cl_conv_armv7em_params part = *(const struct cl_conv_armv7em_params *)params;
    input += cl_rows_above(&part.input, &part.pad_top, part.stride_height, first);
    part.output.height = count;
    kernel(&part, input, NULL, output, scratch);
}

void cl_conv2d_armv7em_rows(const void *params, const int8_t *input, int8_t *output,
                            int8_t *scratch, uint16_t first, uint16_t count)
{
    run(cl_conv2d_armv7em, params, input, output, scratch, first, count);
}

void cl_depthwise_armv7em_rows(const void *params, const int8_t *input, int8_t *output,
                               int8_t *scratch, uint16_t first, uint16_t count)
{
    run(cl_depthwise_armv7em, params, input, output, scratch, first, count);
}
#endif
