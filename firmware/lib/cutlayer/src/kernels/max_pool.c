// Maximum over the part of the window inside the input.
#include "cutlayer/kernels.h"

#include "kernels/pool_window.h"
#include "requantize.h"

static int8_t maximum(const struct cl_pool_params *p, const struct cl_pool_window *window,
                      uint32_t channel)
{
    const uint32_t row_step = (uint32_t)p->input.width * p->input.channels;
    int8_t most = INT8_MIN;
    for (uint32_t row = 0; row < window->rows; row++) {
        const int8_t *x = window->input + row * row_step + channel;
        for (uint32_t column = 0; column < window->columns; column++, x += p->input.channels) {
            most = *x > most ? *x : most;
        }
    }
    return cl_clamp(most, p->activation_min, p->activation_max);
}

void cl_max_pool(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                 int8_t *scratch)
{
    const struct cl_pool_params *p = params;
    (void)second;
    (void)scratch;
    for (uint32_t y = 0; y < p->output.height; y++) {
        for (uint32_t x = 0; x < p->output.width; x++) {
            const struct cl_pool_window window = cl_pool_window(p, input, y, x);
            for (uint32_t channel = 0; channel < p->output.channels; channel++) {
                *output++ = maximum(p, &window, channel);
            }
        }
    }
}
