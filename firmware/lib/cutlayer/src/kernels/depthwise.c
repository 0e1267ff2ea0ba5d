// Depthwise convolution: channels innermost, four at a time, over the part of the window that lies
// inside the input (the rest adds nothing).
#include "cutlayer/kernels.h"

#include "kernels/dot.h"

// The part of a window inside the input; never empty, TFLite's padding leaves no window outside.
struct window {
    const int8_t *input;   // first input element inside
    const int8_t *weights; // its weights
    uint32_t rows;
    uint32_t columns;
};

static struct window clip(const struct cl_conv_params *p, const int8_t *input, uint32_t y,
                          uint32_t x)
{
    const int32_t top = (int32_t)(y * p->stride_height) - p->pad_top;
    const int32_t left = (int32_t)(x * p->stride_width) - p->pad_left;
    const int32_t row = top < 0 ? -top : 0;
    const int32_t column = left < 0 ? -left : 0;
    const int32_t below = (int32_t)p->input.height - top;
    const int32_t right = (int32_t)p->input.width - left;
    const int32_t row_end = below < p->kernel_height ? below : p->kernel_height;
    const int32_t column_end = right < p->kernel_width ? right : p->kernel_width;
    const uint32_t first = (uint32_t)(top + row) * p->input.width + (uint32_t)(left + column);
    const uint32_t tap = (uint32_t)row * p->kernel_width + (uint32_t)column;
    struct window window;
    window.input = input + first * p->input.channels;
    window.weights = p->weights + tap * p->output.channels;
    window.rows = (uint32_t)(row_end - row);
    window.columns = (uint32_t)(column_end - column);
    return window;
}

// Output channel `o` from input channel `i`.
static int32_t one_channel(const struct cl_conv_params *p, const struct window *window, uint32_t i,
                           uint32_t o)
{
    const uint32_t input_step = p->input.channels, weight_step = p->output.channels;
    int32_t sum = p->bias[o];
    for (uint32_t row = 0; row < window->rows; row++) {
        const int8_t *x = window->input + row * p->input.width * input_step + i;
        const int8_t *w = window->weights + row * p->kernel_width * weight_step + o;
        for (uint32_t column = 0; column < window->columns; column++) {
            sum += (int32_t)*w * (*x - p->input_zero_point);
            x += input_step;
            w += weight_step;
        }
    }
    return sum;
}

// Output channels o to o + 3 from the same input channels.
static void four_channels(const struct cl_conv_params *p, const struct window *window, uint32_t o,
                          int32_t sum[4])
{
    const uint32_t step = p->input.channels;
    const int32_t offset = -(int32_t)p->input_zero_point;
    int32_t s0 = p->bias[o], s1 = p->bias[o + 1], s2 = p->bias[o + 2], s3 = p->bias[o + 3];
#if defined(CL_SIMD32)
    const int16x2_t pair = cl_pair(offset);
#endif
    for (uint32_t row = 0; row < window->rows; row++) {
        const int8_t *x = window->input + row * p->input.width * step + o;
        const int8_t *w = window->weights + row * p->kernel_width * step + o;
        for (uint32_t column = 0; column < window->columns; column++) {
#if defined(CL_SIMD32)
            const uint32_t xw = cl_word(x), ww = cl_word(w);
            const int16x2_t xe = cl_even_plus(pair, xw), xo = cl_odd_plus(pair, xw);
            const int16x2_t we = cl_even(ww), wo = cl_odd(ww);
            s0 = __smlabb(we, xe, s0);
            s1 = __smlabb(wo, xo, s1);
            s2 = __smlatt(we, xe, s2);
            s3 = __smlatt(wo, xo, s3);
#else
            s0 += (int32_t)w[0] * (x[0] + offset);
            s1 += (int32_t)w[1] * (x[1] + offset);
            s2 += (int32_t)w[2] * (x[2] + offset);
            s3 += (int32_t)w[3] * (x[3] + offset);
#endif
            x += step;
            w += step;
        }
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

void cl_depthwise(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                  int8_t *scratch)
{
    const struct cl_conv_params *p = params;
    const uint32_t channels = p->output.channels;
    (void)second;
    (void)scratch;
    for (uint32_t y = 0; y < p->output.height; y++) {
        for (uint32_t x = 0; x < p->output.width; x++, output += channels) {
            const struct window window = clip(p, input, y, x);
            uint32_t o = 0;
            for (; p->depth_multiplier == 1 && o + 4 <= channels; o += 4) {
                int32_t sum[4];
                four_channels(p, &window, o, sum);
                cl_four_channels(p, sum, o, output + o);
            }
            for (; o < channels; o++) {
                output[o] = cl_channel(p, one_channel(p, &window, o / p->depth_multiplier, o), o);
            }
        }
    }
}
