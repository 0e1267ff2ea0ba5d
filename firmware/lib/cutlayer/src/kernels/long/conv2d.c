// Convolution with two products a multiplication: three positions of a row at a time, or two,
// packed in scratch, against one output channel after the other.
//
// Weights: by channel, by line of the window, words of four bytes u; a line is filled up with u =
// 128, a weight of 0, and so is a channel to an even number of words.
#include "cutlayer/kernels_long.h"

#include "kernels/lines.h"
#include "kernels/long/product.h"

#define POSITIONS 3u

// Positions side by side, and all output channels.
struct tile {
    const uint32_t *x; // by four inputs: the two factors of each position
    const uint32_t *x_end;
    uint64_t start[POSITIONS]; // of the sums of each position
    uint32_t y_stride;         // from a position's outputs to the next one's
    int8_t *y;
};

#define ADD(sum, position)                                                                         \
    sum += (uint64_t)outer * x[2 * (position)];                                                    \
    sum += (uint64_t)inner * x[2 * (position) + 1];
#define STEP_OF_2                                                                                  \
    {                                                                                              \
        const uint32_t word = *w++;                                                                \
        const uint32_t outer = cl_outer_bytes(word), inner = cl_inner_bytes(word);                 \
        ADD(sum0, 0)                                                                               \
        ADD(sum1, 1)                                                                               \
        x += 4;                                                                                    \
    }
#define STEP_OF_3                                                                                  \
    {                                                                                              \
        const uint32_t word = *w++;                                                                \
        const uint32_t outer = cl_outer_bytes(word), inner = cl_inner_bytes(word);                 \
        ADD(sum0, 0)                                                                               \
        ADD(sum1, 1)                                                                               \
        ADD(sum2, 2)                                                                               \
        x += 6;                                                                                    \
    }

CL_OWN_REGISTERS CL_IN_ORDER static void run_2(const struct cl_packed_params *p,
                                               const struct tile *tile)
{
    const uint32_t *w = (const uint32_t *)p->weights;
    const uint32_t *const x_end = tile->x_end;
    int8_t *y = tile->y, *const y_end = y + p->output.channels;
    for (const int32_t *channel = p->channels; y != y_end; channel += 4, y++) {
        const uint32_t *x = tile->x;
        uint64_t sum0 = tile->start[0], sum1 = tile->start[1];
        do {
            STEP_OF_2
            STEP_OF_2
        } while (x != x_end);
        const uint32_t bias = (uint32_t)channel[0];
        // Written last: to the compiler an int8 might lie in the table.
        const int8_t y0 = cl_long_output(bias + cl_twice_middle(sum0), channel);
        const int8_t y1 = cl_long_output(bias + cl_twice_middle(sum1), channel);
        y[tile->y_stride] = y1;
        y[0] = y0;
    }
}

CL_OWN_REGISTERS CL_IN_ORDER static void run_3(const struct cl_packed_params *p,
                                               const struct tile *tile)
{
    const uint32_t *w = (const uint32_t *)p->weights;
    const uint32_t *const x_end = tile->x_end;
    int8_t *y = tile->y, *const y_end = y + p->output.channels;
    for (const int32_t *channel = p->channels; y != y_end; channel += 4, y++) {
        const uint32_t *x = tile->x;
        uint64_t sum0 = tile->start[0], sum1 = tile->start[1], sum2 = tile->start[2];
        do {
            STEP_OF_3
            STEP_OF_3
        } while (x != x_end);
        const uint32_t bias = (uint32_t)channel[0];
        // Written last: to the compiler an int8 might lie in the table.
        const int8_t y0 = cl_long_output(bias + cl_twice_middle(sum0), channel);
        const int8_t y1 = cl_long_output(bias + cl_twice_middle(sum1), channel);
        const int8_t y2 = cl_long_output(bias + cl_twice_middle(sum2), channel);
        y[0] = y0;
        y[tile->y_stride] = y1;
        y[2 * tile->y_stride] = y2;
    }
}

void cl_conv2d_long(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                    int8_t *scratch)
{
    const struct cl_packed_params *p = params;
    const uint32_t input_pitch = (uint32_t)p->input.width * p->input.channels;
    const uint32_t pitch = p->line_pitch ? p->line_pitch : input_pitch;
    const uint32_t line_words = ((uint32_t)p->kernel_width * p->input.channels + 3) / 4;
    const uint32_t lines = p->kernel_height, words = line_words * lines;
    const uint32_t even_words = (words + 1) & ~(uint32_t)1;
    const uint32_t step = (uint32_t)p->stride_width * p->input.channels;
    uint32_t *const x = (uint32_t *)(void *)scratch;
    int8_t *const copy = scratch + 8 * POSITIONS * even_words;
    struct tile tile = {.x = x, .y = output};
    (void)second;
    for (uint32_t y = 0; y < p->output.height; y++) {
        const int8_t *row = input + y * p->stride_height * input_pitch;
        if (p->line_pitch) {
            cl_copy_lines(p, input, y, copy);
            row = copy;
        }
        for (uint32_t left = p->output.width; left > 0;) {
            const uint32_t count = cl_tile_width(left);
            const uint32_t positions = count > 1 ? count : 2;
            for (uint32_t i = 0; i < positions; i++) {
                // A position alone is both of two.
                const int8_t *from = row + (count > 1 ? i * step : 0);
                const uint32_t sum =
                    cl_pack_long(from, pitch, lines, line_words, x + 2 * i, 2 * positions);
                if (words != even_words) {
                    uint32_t *const last = x + 2 * (positions * words + i);
                    last[0] = 0;
                    last[1] = 0;
                }
                tile.start[i] = cl_long_start(sum);
            }
            tile.x_end = x + 2 * positions * even_words;
            tile.y_stride = count > 1 ? p->output.channels : 0;
            (positions == 3 ? run_3 : run_2)(p, &tile);
            left -= count;
            row += count * step;
            tile.y += count * p->output.channels;
        }
    }
    cl_clamp_outputs(output, (uint32_t)(tile.y - output), p->activation_min, p->activation_max);
}
