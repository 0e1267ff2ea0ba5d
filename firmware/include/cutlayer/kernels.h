// The kernels' parameter structs, and the kernels. One op, one file under lib/cutlayer/src/kernels, with the
// same name as in the converter.
//
// Source of the arithmetic: TensorFlow Lite 8-bit quantization specification, and the int8 reference kernels of
// TensorFlow Lite Micro (double rounding: saturating rounding doubling high multiply, then a rounding right
// shift that rounds half away from zero).
#ifndef CUTLAYER_KERNELS_H
#define CUTLAYER_KERNELS_H

#include "cutlayer/head.h"

// Convolution, depthwise convolution and fully connected layer (as a 1 x 1 convolution of a 1 x 1 x C input).
// Weights: CONV2D and DENSE [out][kernel_h][kernel_w][in]; DEPTHWISE [kernel_h][kernel_w][out].
// Bias int32 [out] at scale input_scale * weight_scale[o]; it is never null. Multiplier and shift are per output
// channel (a per-tensor layer repeats them). shift > 0 is a left shift, as in TFLite.
struct cl_conv_params {
    struct cl_shape input;
    struct cl_shape output;
    uint8_t kernel_height;
    uint8_t kernel_width;
    uint8_t stride_height;
    uint8_t stride_width;
    uint8_t pad_top;
    uint8_t pad_left;
    uint8_t depth_multiplier; // DEPTHWISE only
    int8_t input_zero_point;
    int8_t output_zero_point;
    int8_t activation_min;
    int8_t activation_max;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
};

void cl_conv2d(const void *params, const int8_t *input, const int8_t *second, int8_t *output, int8_t *scratch);
void cl_depthwise(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                  int8_t *scratch);
void cl_dense(const void *params, const int8_t *input, const int8_t *second, int8_t *output, int8_t *scratch);

#endif
