// Kernels for Armv7E-M (Cortex-M4, M7, M33, M55: SMLAD and its kin), which the converter chooses
// where they give the portable kernels' bytes: see converter/cutlayer_converter/ops/armv7em.py.
// They exist only where the compiler has these instructions.
#ifndef CUTLAYER_KERNELS_ARMV7EM_H
#define CUTLAYER_KERNELS_ARMV7EM_H

#include "cutlayer/kernels_packed.h"

void cl_conv2d_armv7em(const void *params, const int8_t *input, const int8_t *second,
                       int8_t *output, int8_t *scratch);

// The same with cl_conv_params, whose weights and requantization may change: for at least two
// channels of at most 516 weights, all at least -127.
void cl_conv2d_plain_armv7em(const void *params, const int8_t *input, const int8_t *second,
                             int8_t *output, int8_t *scratch);

// Depthwise convolution of 3 x 3 with the same stride of 1 or 2 both ways and a multiple of four
// channels. `weights` are bytes as in cl_conv_params.
void cl_depthwise_armv7em(const void *params, const int8_t *input, const int8_t *second,
                          int8_t *output, int8_t *scratch);

// Rows of their outputs.
void cl_conv2d_armv7em_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                            int8_t *scratch, uint16_t first, uint16_t count);
void cl_conv2d_plain_armv7em_rows(const void *params, const int8_t *input, uint16_t begin,
                                  int8_t *output, int8_t *scratch, uint16_t first, uint16_t count);
void cl_depthwise_armv7em_rows(const void *params, const int8_t *input, uint16_t begin,
                               int8_t *output, int8_t *scratch, uint16_t first, uint16_t count);

// Fully connected layer of at least four channels; several rows only of a multiple of four inputs.
// `input` and `output` are 1 x rows x channels.
void cl_dense_armv7em(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                      int8_t *scratch);

// Output may be an input.
void cl_add_armv7em(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                    int8_t *scratch);

// Average over the whole of an input (struct cl_pool_params) of at most 255 positions and a
// multiple of four channels.
void cl_average_pool_armv7em(const void *params, const int8_t *input, const int8_t *second,
                             int8_t *output, int8_t *scratch);

#endif
