// Average pooling: sums over the part of the window inside the input, rounded half away from zero.
#include "cutlayer/kernels.h"

#include "kernels/pool_window.h"
#include "requantize.h"

static int8_t average(const struct cl_pool_params *p, const struct cl_pool_window *window,
                      uint32_t channel)
{
    const int32_t count = (int32_t)(window->rows * window->columns);
    const uint32_t row_step = (uint32_t)p->input.width * p->input.channels;
    int32_t sum = 0;
    for (uint32_t row = 0; row < window->rows; row++) {
        const int8_t *x = window->input + row * row_step + channel;
        for (uint32_t column = 0; column < window->columns; column++, x += p->input.channels) {
            sum += *x;
        }
    }
    const int32_t rounded = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
    return cl_clamp(rounded, p->activation_min, p->activation_max);
}

void cl_average_pool(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                     int8_t *scratch)
{
    const struct cl_pool_params *p = params;
    (void)second;
    (void)scratch;
    for (uint32_t y = 0; y < p->output.height; y++) {
        for (uint32_t x = 0; x < p->output.width; x++) {
            const struct cl_pool_window window = cl_pool_window(p, input, y, x);
            for (uint32_t channel = 0; channel < p->output.channels; channel++) {
                *output++ = average(p, &window, channel);
            }
        }
    }
}
