// Kernels for Armv7E-M (Cortex-M4, M7, M33, M55: SMLAD and its kin), which the converter chooses
// where they give the portable kernels' bytes: see converter/cutlayer_converter/ops/armv7em.py.
// They exist only where the compiler has these instructions.
#ifndef CUTLAYER_KERNELS_ARMV7EM_H
#define CUTLAYER_KERNELS_ARMV7EM_H

#include "cutlayer/kernels.h"

// Convolution and fully connected layer. `weights` and `channels` are laid out for the kernel:
// src/kernels/armv7em/tile.h.
struct cl_conv_armv7em_params {
    struct cl_shape input;
    struct cl_shape output;
    uint8_t kernel_height;
    uint8_t kernel_width;
    uint8_t stride_height;
    uint8_t stride_width;
    uint8_t pad_top;
    uint8_t pad_left;
    uint8_t away; // whether halves are rounded away from zero: not under a ReLU
    int8_t input_zero_point;
    int8_t activation_min;
    int8_t activation_max;
    uint32_t
        line_pitch; // bytes of a line that is copied to scratch; 0 when windows lie in the input
    const int32_t *weights;
    const int32_t *channels; // by channel: 2 * bias, multiplier, rounding, shift
};

// Sum of two tensors of one shape. One of them has the larger scale, whose multiplier is a half;
// `zero` is -zero point * 2^21 of the other one, `half_zero` -zero point * 2^19 of that one.
// Roundings hold the half of the shift after them, and the output's its zero point too.
struct cl_add_armv7em_params {
    uint32_t count;
    int32_t zero;
    int32_t half_zero;
    int32_t multiplier;
    int32_t rounding;
    int32_t shift;
    int32_t output_multiplier;
    int32_t output_rounding;
    int32_t output_shift;
    uint8_t second_is_half;
    int8_t activation_min;
    int8_t activation_max;
};

void cl_conv2d_armv7em(const void *params, const int8_t *input, const int8_t *second,
                       int8_t *output, int8_t *scratch);

// Depthwise convolution of 3 x 3 with the same stride of 1 or 2 both ways and a multiple of four
// channels. `weights` are bytes as in cl_conv_params.
void cl_depthwise_armv7em(const void *params, const int8_t *input, const int8_t *second,
                          int8_t *output, int8_t *scratch);

// Rows of their outputs.
void cl_conv2d_armv7em_rows(const void *params, const int8_t *input, int8_t *output,
                            int8_t *scratch, uint16_t first, uint16_t count);
void cl_depthwise_armv7em_rows(const void *params, const int8_t *input, int8_t *output,
                               int8_t *scratch, uint16_t first, uint16_t count);

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
