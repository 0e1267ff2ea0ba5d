// Kernels in plain C for processors with one instruction for 32 x 32 bits plus 64 bits (Cortex-M3
// and all with Thumb-2; 64-bit machines). They are right on any processor, but elsewhere the plain
// ones are faster. The converter chooses them where they give the same bytes: see
// converter/cutlayer_converter/ops/long_multiply.py.
#ifndef CUTLAYER_KERNELS_LONG_H
#define CUTLAYER_KERNELS_LONG_H

#include "cutlayer/kernels_packed.h"

// Output may be the input where the converter says so (`in_place`).
void cl_conv2d_long(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                    int8_t *scratch);

// Depthwise convolution of 3 x 3 with one output channel for each of the input.
void cl_depthwise_long(const void *params, const int8_t *input, const int8_t *second,
                       int8_t *output, int8_t *scratch);

// Rows of both, as cl_row_kernel says.
void cl_conv2d_long_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                         int8_t *scratch, uint16_t first, uint16_t count);
void cl_depthwise_long_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                            int8_t *scratch, uint16_t first, uint16_t count);

// Fully connected layer of at least two channels. `input` and `output` are 1 x rows x channels.
void cl_dense_long(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                   int8_t *scratch);

// Output may be an input.
void cl_add_long(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                 int8_t *scratch);

#endif
