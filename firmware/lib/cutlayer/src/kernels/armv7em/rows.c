// Rows of convolutions for Armv7E-M.
#include "cutlayer/kernels_armv7em.h"

#include "kernels/armv7em/tile.h"
#include "kernels/packed_rows.h"

#if defined(CL_ARMV7EM)
void cl_conv2d_armv7em_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                            int8_t *scratch, uint16_t first, uint16_t count)
{
    cl_packed_rows(cl_conv2d_armv7em, params, input, begin, output, scratch, first, count);
}

void cl_depthwise_armv7em_rows(const void *params, const int8_t *input, uint16_t begin,
                               int8_t *output, int8_t *scratch, uint16_t first, uint16_t count)
{
    cl_packed_rows(cl_depthwise_armv7em, params, input, begin, output, scratch, first, count);
}
#endif
