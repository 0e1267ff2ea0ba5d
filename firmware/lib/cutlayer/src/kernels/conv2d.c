// Convolution: each window becomes one row (im2col), two windows at a time, against two channels.
#include "cutlayer/kernels.h"

#include <string.h>

#include "kernels/dot.h"
#include "requantize.h"

// Copies the window of output (y, x) to `patch`, the zero point where it leaves the input.
static void gather(const struct cl_conv_params *p, const int8_t *input, uint32_t y, uint32_t x,
                   int8_t *patch)
{
    const uint32_t channels = p->input.channels;
    const uint32_t row_bytes = p->kernel_width * channels;
    const int32_t left = (int32_t)(x * p->stride_width) - p->pad_left;
    const int32_t over = left + p->kernel_width - (int32_t)p->input.width;
    const uint32_t before = left < 0 ? (uint32_t)-left * channels : 0;
    const uint32_t after = over > 0 ? (uint32_t)over * channels : 0;
    const uint32_t start = left > 0 ? (uint32_t)left * channels : 0;
    for (uint32_t ky = 0; ky < p->kernel_height; ky++, patch += row_bytes) {
        const int32_t row = (int32_t)(y * p->stride_height + ky) - p->pad_top;
        if (row < 0 || row >= (int32_t)p->input.height) {
            memset(patch, p->input_zero_point, row_bytes);
            continue;
        }
        const int8_t *from = input + (uint32_t)row * p->input.width * channels + start;
        memset(patch, p->input_zero_point, before);
        memcpy(patch + before, from, row_bytes - before - after);
        memset(patch + row_bytes - after, p->input_zero_point, after);
    }
}

static inline int8_t requantize(const struct cl_conv_params *p, int32_t sum, uint32_t channel)
{
    const int32_t scaled = cl_multiply(sum, p->multiplier[channel], p->shift[channel]);
    return cl_clamp(scaled + p->output_zero_point, p->activation_min, p->activation_max);
}

// All output channels of two windows. With an odd number of either, the last is done twice.
static void two_windows(const struct cl_conv_params *p, const int8_t *x0, const int8_t *x1,
                        uint32_t count, int8_t *y0, int8_t *y1)
{
    const uint32_t channels = p->output.channels;
    for (uint32_t o = 0; o < channels; o += 2) {
        const uint32_t next = o + 1 < channels ? o + 1 : o;
        int32_t sum[4] = {p->bias[o], p->bias[o], p->bias[next], p->bias[next]};
        cl_dot_2x2(p->weights + o * count, p->weights + next * count, x0, x1, count,
                   -(int32_t)p->input_zero_point, sum);
        y0[o] = requantize(p, sum[0], o);
        y1[o] = requantize(p, sum[1], o);
        y0[next] = requantize(p, sum[2], next);
        y1[next] = requantize(p, sum[3], next);
    }
}

void cl_conv2d(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
               int8_t *scratch)
{
    const struct cl_conv_params *p = params;
    const int pointwise = p->kernel_height == 1 && p->kernel_width == 1;
    const uint32_t count = (uint32_t)p->kernel_height * p->kernel_width * p->input.channels;
    const uint32_t positions = (uint32_t)p->output.height * p->output.width;
    const uint32_t column_step = (uint32_t)p->stride_width * p->input.channels;
    const uint32_t row_step = (uint32_t)p->stride_height * p->input.width * p->input.channels;
    const int8_t *window[2] = {input, input};
    int8_t *result[2] = {output, output};
    uint32_t y = 0, x = 0, held = 0;
    (void)second;
    for (uint32_t position = 0; position < positions; position++) {
        if (pointwise) {
            window[held] = input + y * row_step + x * column_step;
        } else {
            gather(p, input, y, x, scratch + held * count);
            window[held] = scratch + held * count;
        }
        result[held] = output + position * p->output.channels;
        if (++held == 2) {
            two_windows(p, window[0], window[1], count, result[0], result[1]);
            held = 0;
        }
        if (++x == p->output.width) {
            x = 0;
            y++;
        }
    }
    if (held == 1) {
        two_windows(p, window[0], window[0], count, result[0], result[0]);
    }
}
