// Convolution for Armv7E-M: three positions of a row at a time, widened to int16 in scratch,
// against all output channels.
//
// Where windows leave the input, or a window's line is no whole number of words, the lines under a
// row of outputs are first copied to scratch with the zero point around them: then the output may
// be the input, if it never overtakes the lines still to be copied.
#include "cutlayer/kernels_armv7em.h"

#include "kernels/armv7em/tile.h"

#if defined(CL_ARMV7EM)
#include "kernels/lines.h"

// All output channels of a tile.
static inline void run_tile(struct cl_tile *tile, uint32_t width, uint32_t channels)
{
    void (*const run)(const struct cl_tile *) = width == 3 ? cl_tile_of_3 : cl_tile_of_2;
    tile->y_end = tile->y + (channels & ~(uint32_t)1);
    run(tile);
    if (channels & 1u) {
        // The last channel comes in a pair with the one before it once more.
        struct cl_tile odd = *tile;
        const uint32_t pairs = channels / 2;
        odd.weights += pairs * 2 * odd.blocks;
        odd.channels += pairs * 8;
        odd.y += channels - 2;
        odd.y_end = odd.y + 2;
        run(&odd);
    }
}

void cl_conv2d_armv7em(const void *params, const int8_t *input, const int8_t *second,
                       int8_t *output, int8_t *scratch)
{
    const struct cl_packed_params *p = params;
    const uint32_t input_pitch = (uint32_t)p->input.width * p->input.channels;
    const uint32_t pitch = p->line_pitch ? p->line_pitch : input_pitch;
    const uint32_t words = ((uint32_t)p->kernel_width * p->input.channels + 3) / 4;
    const uint32_t lines = p->kernel_height, skip = pitch - 4 * words;
    const uint32_t step = (uint32_t)p->stride_width * p->input.channels;
    const uint32_t channels = p->output.channels, width = p->output.width;
    uint32_t *const x = (uint32_t *)(void *)scratch;
    int8_t *const copy = scratch + words * lines * 24;
    struct cl_tile tile = {.channels = p->channels,
                           .y = output,
                           .x = x,
                           .weights = (const uint32_t *)p->weights,
                           .blocks = words * lines,
                           .away = p->away};
    (void)second;
    for (uint32_t y = 0; y < p->output.height; y++) {
        const int8_t *row = input + y * p->stride_height * input_pitch;
        if (p->line_pitch) {
            cl_copy_lines(p, input, y, copy);
            row = copy;
        }
        tile.y_stride = channels;
        uint32_t left = width;
        for (; left == 3 || left > 4; left -= 3, row += 3 * step, tile.y += 3 * channels) {
            cl_widen_3(x, row, step, words, lines, skip);
            run_tile(&tile, 3, channels);
        }
        for (; left > 1; left -= 2, row += 2 * step, tile.y += 2 * channels) {
            cl_widen_2(x, row, step, words, lines, skip);
            run_tile(&tile, 2, channels);
        }
        if (left) {
            // A position alone is both of two.
            tile.y_stride = 0;
            cl_widen_2(x, row, 0, words, lines, skip);
            run_tile(&tile, 2, channels);
            tile.y += channels;
        }
        if (p->activation_min != INT8_MIN || p->activation_max != INT8_MAX) {
            cl_clamp_bytes(tile.y - width * channels, width * channels, p->activation_min,
                           p->activation_max);
        }
    }
}
#endif
