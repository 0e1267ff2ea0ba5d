// A clamp in the input's own scale.
#include "cutlayer/kernels.h"

#include "requantize.h"

void cl_relu(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
             int8_t *scratch)
{
    const struct cl_relu_params *p = params;
    (void)second;
    (void)scratch;
    for (uint32_t i = 0; i < p->count; i++) {
        output[i] = cl_clamp(input[i], p->activation_min, p->activation_max);
    }
}
