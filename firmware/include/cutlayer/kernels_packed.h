// Parameters that the converter prepares for the kernels that read them: weights laid out, and what
// can be worked out ahead of requantization.
#ifndef CUTLAYER_KERNELS_PACKED_H
#define CUTLAYER_KERNELS_PACKED_H

#include "cutlayer/kernels.h"

// Convolution, depthwise convolution and fully connected layer. Each kernel's file says how its
// `weights` lie.
struct cl_packed_params {
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
    // Bytes of a line that is copied to scratch; 0 when windows lie in the input.
    uint32_t line_pitch;
    const int32_t *weights;
    const int32_t *channels; // by channel: 2 * bias, multiplier, rounding, shift
};

// Sum of two tensors of one shape. One of them has the larger scale, whose multiplier is a half;
// `zero` is -zero point * 2^21 of the other one, `half_zero` -zero point * 2^19 of that one.
// Roundings hold the half of the shift after them, and the output's its zero point too.
struct cl_packed_add_params {
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

#endif
