#include "small_model.h"

static void copy(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                 int8_t *scratch)
{
    (void)params;
    (void)second;
    (void)scratch;
    memcpy(output, input, 36);
}

static const int8_t weights[20] = {90,  -50, 20, 10,  -70, 30,  60, -20, 80, 5,
                                   -90, 40,  33, -44, 55,  -66, 77, -88, 99, 1};
static const int32_t bias[5] = {100, -200, 300, -400, 500};
static const int32_t multiplier[5] = {1288490189, 1288490189, 1288490189, 1288490189, 1288490189};
static const int8_t shift[5] = {-7, -7, -7, -7, -7};
static const float weight_scale[5] = {0.01f, 0.01f, 0.01f, 0.01f, 0.01f};
static const struct cl_conv_params params = {
    .input = {3, 3, 4},
    .output = {3, 3, 5},
    .kernel_height = 1,
    .kernel_width = 1,
    .stride_height = 1,
    .stride_width = 1,
    .output_zero_point = -128,
    .activation_min = -128,
    .activation_max = 127,
    .weights = weights,
    .bias = bias,
    .multiplier = multiplier,
    .shift = shift,
};
const struct cl_trainable small_trainable = {
    .kind = CL_LAYER_CONV2D,
    .optimizer_max = CL_OPTIMIZER_ADAM,
    .params = &params,
    .weight_scale = weight_scale,
    .input_scale = 0.02f,
    .output_scale = 0.0427f,
    .weight_count = 20,
    .gradient_offset = 112,
    .channel_count = 5,
    .activation = CL_ACTIVATION_RELU,
};
static const struct cl_op ops[2] = {
    {copy, 0, 0, 0, 48, 0},
    {cl_conv2d, &params, 48, 0, 96, 0},
};
static const struct cl_cut cuts[2] = {
    {1, 0, -128, 127, 0.02f, {3, 3, 4}, 48},
    {2, -128, -128, 127, 0.0427f, {3, 3, 5}, 96},
};
const struct cl_model small_model = {
    .head = {ops, cuts, 2, 2, {3, 3, 4}, 0, 48, 0.02f, 0, SMALL_ARENA, 0, cl_conv2d_rows},
    .trainable = &small_trainable,
};
