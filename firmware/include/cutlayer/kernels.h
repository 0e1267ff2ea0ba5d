// The kernels' parameter structs, and the kernels. One op, one file under lib/cutlayer/src/kernels,
// with the same name as in the converter.
//
// Source of the arithmetic: TensorFlow Lite 8-bit quantization specification, and the int8
// reference kernels of TensorFlow Lite Micro (double rounding: saturating rounding doubling high
// multiply, then a rounding right shift that rounds half away from zero).
#ifndef CUTLAYER_KERNELS_H
#define CUTLAYER_KERNELS_H

#include "cutlayer/head.h"

// Convolution, depthwise convolution and fully connected layer (as a 1 x 1 convolution of a 1 x 1 x
// C input). Weights: CONV2D and DENSE [out][kernel_h][kernel_w][in]; DEPTHWISE
// [kernel_h][kernel_w][out]. Bias int32 [out] at scale input_scale * weight_scale[o]; it is never
// null. Multiplier and shift are per output channel (a per-tensor layer repeats them). shift > 0 is
// a left shift, as in TFLite.
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

// Average and maximum over a window; channels stay apart. Input and output have one scale.
struct cl_pool_params {
    struct cl_shape input;
    struct cl_shape output;
    uint16_t window_height;
    uint16_t window_width;
    uint16_t stride_height;
    uint16_t stride_width;
    uint16_t pad_top;
    uint16_t pad_left;
    int8_t activation_min;
    int8_t activation_max;
};

// Mean over height and width; the multiplier holds the division by their product.
struct cl_mean_params {
    struct cl_shape input;
    int32_t multiplier;
    int8_t shift;
    int8_t input_zero_point;
    int8_t output_zero_point;
};

// Sum of two tensors. `second` is repeated along the input: second_count is count (same shape),
// channels, or 1. With `constant` the second operand is that and not in the arena.
struct cl_add_params {
    uint32_t count;
    uint32_t second_count;
    const int8_t *constant;
    int32_t input_multiplier;
    int32_t second_multiplier;
    int32_t output_multiplier;
    int8_t input_shift;
    int8_t second_shift;
    int8_t output_shift;
    int8_t input_zero_point;
    int8_t second_zero_point;
    int8_t output_zero_point;
    int8_t activation_min;
    int8_t activation_max;
};

// Product of two tensors; second_count and constant as in cl_add_params.
struct cl_mul_params {
    uint32_t count;
    uint32_t second_count;
    const int8_t *constant;
    int32_t multiplier;
    int8_t shift;
    int8_t input_zero_point;
    int8_t second_zero_point;
    int8_t output_zero_point;
    int8_t activation_min;
    int8_t activation_max;
};

// Zero padding: `value` is the zero point (or another constant) around the input.
struct cl_pad_params {
    struct cl_shape input;
    struct cl_shape output;
    uint16_t pad_top;
    uint16_t pad_left;
    int8_t value;
};

// A new scale and zero point, then a clamp: ReLU with other scales, and QUANTIZE int8 to int8.
struct cl_requantize_params {
    uint32_t count;
    int32_t multiplier;
    int8_t shift;
    int8_t input_zero_point;
    int8_t output_zero_point;
    int8_t activation_min;
    int8_t activation_max;
};

// A clamp: ReLU6 where input and output have one scale.
struct cl_relu_params {
    uint32_t count;
    int8_t activation_min;
    int8_t activation_max;
};

// Softmax of each row of `channels`. exp_table[d] = exp(-d * beta * input_scale) as Q0.31, for
// d < exp_count; 0 beyond. The output's scale is 1/256 and its zero point -128.
struct cl_softmax_params {
    uint32_t rows;
    uint16_t channels;
    uint16_t exp_count;
    const int32_t *exp_table;
};

// Two ops one after the other, some rows of the output at a time: of what lies between them only
// the lines are there that their windows see. They lie at the start of the scratch memory, (rows -
// 1) * stride_height + kernel_height of them.
struct cl_fused_params {
    cl_row_kernel first;
    const void *first_params;
    cl_row_kernel second;
    const void *second_params;
    struct cl_shape between;
    struct cl_shape output;
    uint16_t rows;         // of the output at a time
    uint8_t kernel_height; // of the second
    uint8_t stride_height;
    uint8_t pad_top;
    uint32_t scratch; // where theirs begins in the scratch memory
};

// Scratch bytes are worked out by the converter (ops/*.py): cl_conv2d needs 4 an output channel
// and, unless kernel and stride are 1 x 1, two windows: 2 * kernel_height * kernel_width * input
// channels. The others need none. Output may be the input for relu, requantize, softmax, and for
// add and mul (their first input).
void cl_conv2d(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
               int8_t *scratch);
void cl_depthwise(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                  int8_t *scratch);
void cl_conv2d_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                    int8_t *scratch, uint16_t first, uint16_t count);
void cl_depthwise_rows(const void *params, const int8_t *input, uint16_t begin, int8_t *output,
                       int8_t *scratch, uint16_t first, uint16_t count);
void cl_fused(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
              int8_t *scratch);
void cl_dense(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
              int8_t *scratch);
void cl_average_pool(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                     int8_t *scratch);
void cl_max_pool(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                 int8_t *scratch);
void cl_mean(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
             int8_t *scratch);
void cl_add(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
            int8_t *scratch);
void cl_mul(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
            int8_t *scratch);
void cl_pad(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
            int8_t *scratch);
void cl_requantize(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                   int8_t *scratch);
void cl_relu(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
             int8_t *scratch);
void cl_softmax(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                int8_t *scratch);

#endif
