// Depthwise convolution of 3 x 3 in plain C, from lines copied to scratch: no window leaves them.
// With a stride of 1 two positions of a row share weights and columns.
//
// Weights: by channel its nine bytes, row by row, and three unused ones.
#include "cutlayer/kernels_long.h"

#include "kernels/lines.h"
#include "kernels/long/product.h"

#define TAPS 12u

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "the weights' bytes lie in words: leave cutlayer.instruction_set out on a big-endian board"
#endif

// A line of three taps at two positions side by side, stride 1.
#define LINE_OF_2(line, w)                                                                         \
    {                                                                                              \
        const int8_t *const from = (line);                                                         \
        const int32_t w0 = (w)[0], w1 = (w)[1], w2 = (w)[2];                                       \
        const int32_t x0 = from[0], x1 = from[channels], x2 = from[two];                           \
        const int32_t x3 = from[three];                                                            \
        first += w0 * x0;                                                                          \
        first += w1 * x1;                                                                          \
        second += w0 * x1;                                                                         \
        first += w2 * x2;                                                                          \
        second += w1 * x2;                                                                         \
        second += w2 * x3;                                                                         \
    }

#define LINE_OF_1(line, w)                                                                         \
    {                                                                                              \
        const int8_t *const from = (line);                                                         \
        sum += (int32_t)(w)[0] * from[0];                                                          \
        sum += (int32_t)(w)[1] * from[channels];                                                   \
        sum += (int32_t)(w)[2] * from[two];                                                        \
    }

// All channels of two positions side by side, stride 1.
CL_OWN_REGISTERS CL_IN_ORDER static void two_positions(const struct cl_packed_params *p,
                                                       const int8_t *x, int8_t *y)
{
    const uint32_t channels = p->output.channels, two = 2 * channels, three = 3 * channels;
    const uint32_t pitch = p->line_pitch;
    const int8_t *w = (const int8_t *)p->weights;
    const int32_t *channel = p->channels;
    for (const int8_t *end = x + channels; x != end; x++, y++, w += TAPS, channel += 4) {
        int32_t first = 0, second = 0;
        LINE_OF_2(x, w)
        LINE_OF_2(x + pitch, w + 3)
        LINE_OF_2(x + 2 * pitch, w + 6)
        const uint32_t bias = (uint32_t)channel[0];
        // Written last: to the compiler an int8 might lie in the table.
        const int8_t y0 = cl_long_output(bias + 2 * (uint32_t)first, channel);
        const int8_t y1 = cl_long_output(bias + 2 * (uint32_t)second, channel);
        y[0] = y0;
        y[channels] = y1;
    }
}

// All channels of one position.
CL_OWN_REGISTERS CL_IN_ORDER static void one_position(const struct cl_packed_params *p,
                                                      const int8_t *x, int8_t *y)
{
    const uint32_t channels = p->output.channels, two = 2 * channels, pitch = p->line_pitch;
    const int8_t *w = (const int8_t *)p->weights;
    const int32_t *channel = p->channels;
    for (const int8_t *end = x + channels; x != end; x++, y++, w += TAPS, channel += 4) {
        int32_t sum = 0;
        LINE_OF_1(x, w)
        LINE_OF_1(x + pitch, w + 3)
        LINE_OF_1(x + 2 * pitch, w + 6)
        *y = cl_long_output((uint32_t)channel[0] + 2 * (uint32_t)sum, channel);
    }
}

void cl_depthwise_long(const void *params, const int8_t *input, const int8_t *second,
                       int8_t *output, int8_t *scratch)
{
    const struct cl_packed_params *p = params;
    const uint32_t channels = p->output.channels, step = p->stride_width * channels;
    int8_t *y = output;
    (void)second;
    for (uint32_t row = 0; row < p->output.height; row++) {
        const int8_t *x = scratch;
        uint32_t left = p->output.width;
        cl_copy_lines(p, input, row, scratch);
        for (; left > 1 && p->stride_width == 1; left -= 2, x += 2 * step, y += 2 * channels) {
            two_positions(p, x, y);
        }
        for (; left > 0; left--, x += step, y += channels) {
            one_position(p, x, y);
        }
    }
    cl_clamp_outputs(output, (uint32_t)(y - output), p->activation_min, p->activation_max);
}
