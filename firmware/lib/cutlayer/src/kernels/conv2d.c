// Convolution: each window becomes one row (im2col); two rows at a time against two channels.
//
// Scratch holds, for each channel, its bias less zero point times the sum of its weights (so that
// the inner loop takes input bytes as they are), and then two rows.
#include "cutlayer/kernels.h"

#include <string.h>

#include "kernels/dot.h"

// Copies the window of output (y, x) to `row`, the zero point where it leaves the input.
static void gather(const struct cl_conv_params *p, const int8_t *input, uint32_t y, uint32_t x,
                   int8_t *row)
{
    const uint32_t channels = p->input.channels;
    const uint32_t line_bytes = p->kernel_width * channels;
    const int32_t left = (int32_t)(x * p->stride_width) - p->pad_left;
    const int32_t over = left + p->kernel_width - (int32_t)p->input.width;
    const uint32_t before = left < 0 ? (uint32_t)-left * channels : 0;
    const uint32_t after = over > 0 ? (uint32_t)over * channels : 0;
    const uint32_t start = left > 0 ? (uint32_t)left * channels : 0;
    for (uint32_t ky = 0; ky < p->kernel_height; ky++, row += line_bytes) {
        const int32_t line = (int32_t)(y * p->stride_height + ky) - p->pad_top;
        if (line < 0 || line >= (int32_t)p->input.height) {
            memset(row, p->input_zero_point, (size_t)line_bytes);
            continue;
        }
        const int8_t *from = input + (uint32_t)line * p->input.width * channels + start;
        memset(row, p->input_zero_point, (size_t)before);
        memcpy(row + before, from, (size_t)(line_bytes - before - after));
        memset(row + line_bytes - after, p->input_zero_point, (size_t)after);
    }
}

static void fold_zero_point(const struct cl_conv_params *p, uint32_t count, int8_t *folded)
{
    const int8_t *w = p->weights;
    for (uint32_t o = 0; o < p->output.channels; o++) {
        int32_t sum = 0;
        for (const int8_t *end = w + count; w != end; w++) {
            sum += *w;
        }
        sum = p->bias[o] - p->input_zero_point * sum;
        memcpy(folded + o * sizeof(sum), &sum, sizeof(sum));
    }
}

static inline int32_t folded_bias(const int8_t *folded, uint32_t o)
{
    int32_t bias;
    memcpy(&bias, folded + o * sizeof(bias), sizeof(bias));
    return bias;
}

// All output channels of two rows, `count` bytes apart, to two outputs side by side.
static void two_rows(const struct cl_conv_params *params, const int8_t *folded, const int8_t *x,
                     uint32_t count, int8_t *y)
{
    // A copy, because writing int8 outputs might change what the pointer points to.
    const struct cl_conv_params p = *params;
    const uint32_t channels = p.output.channels;
    const int8_t *w = p.weights;
    uint32_t o = 0;
    for (; o + 2 <= channels; o += 2, w += 2 * count) {
        const int32_t first = folded_bias(folded, o), second = folded_bias(folded, o + 1);
        int32_t sum[4] = {first, first, second, second};
        cl_dot_2x2(w, x, count, sum);
        // Written last: to the compiler an int8 might lie in the multipliers.
        const int8_t y00 = cl_channel(&p, sum[0], o), y01 = cl_channel(&p, sum[1], o);
        const int8_t y10 = cl_channel(&p, sum[2], o + 1), y11 = cl_channel(&p, sum[3], o + 1);
        y[o] = y00;
        y[o + channels] = y01;
        y[o + 1] = y10;
        y[o + 1 + channels] = y11;
    }
    if (o < channels) {
        const int32_t bias = folded_bias(folded, o);
        y[o] = cl_channel(&p, bias + cl_dot(w, x, count, 0), o);
        y[o + channels] = cl_channel(&p, bias + cl_dot(w, x + count, count, 0), o);
    }
}

void cl_conv2d(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
               int8_t *scratch)
{
    const struct cl_conv_params *p = params;
    const uint32_t count = (uint32_t)p->kernel_height * p->kernel_width * p->input.channels;
    const uint32_t positions = (uint32_t)p->output.height * p->output.width;
    const int in_place = p->kernel_height == 1 && p->kernel_width == 1 && p->stride_height == 1 &&
                         p->stride_width == 1;
    int8_t *rows = scratch + p->output.channels * sizeof(int32_t);
    uint32_t y = 0, x = 0;
    (void)second;
    if (positions > 1) {
        fold_zero_point(p, count, scratch);
    }
    for (uint32_t position = 0; position < positions; position += 2) {
        const uint32_t left = positions - position > 1 ? 2 : 1;
        const int8_t *row = in_place ? input + position * count : rows;
        for (uint32_t i = 0; i < left && !in_place; i++) {
            gather(p, input, y, x, rows + i * count);
            if (++x == p->output.width) {
                x = 0;
                y++;
            }
        }
        if (left == 2) {
            two_rows(p, scratch, row, count, output);
        } else {
            cl_one_row(p, row, count, output);
        }
        output += left * p->output.channels;
    }
}
