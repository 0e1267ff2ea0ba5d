// Numbers that look random and are the same on every board, and a gradient of them.
#ifndef DRAWN_GRADIENT_H
#define DRAWN_GRADIENT_H

#include "cutlayer/train.h"

static int8_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (int8_t)((int32_t)(*state >> 24) - 128);
}

// Accumulates a drawn gradient of output rows [first, first + rows), which are `output`: position
// by position in `g` [channels], 0 where the output is clamped. Returns the first cl_error.
static int32_t accumulate_drawn(struct cl_train *train, const int8_t *input, const int8_t *output,
                                uint16_t first, uint16_t rows, int8_t *g, uint32_t *state)
{
    const struct cl_conv_params *params = &train->params;
    const uint32_t channels = params->output.channels;
    const uint32_t width = params->output.width, start = first * width, end = start + rows * width;
    int32_t result = 0;
    for (uint32_t position = start; position < end && result >= 0; position++, output += channels) {
        for (uint32_t o = 0; o < channels; o++) {
            const int8_t y = output[o], drawn = draw(state);
            g[o] = y == params->activation_min || y == params->activation_max ? 0 : drawn;
        }
        result = cl_train_accumulate(train, input, position, g);
    }
    return result;
}

#endif
