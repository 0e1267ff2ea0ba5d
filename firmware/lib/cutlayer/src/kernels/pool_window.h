// The part of a pooling window that lies inside the input.
#ifndef CUTLAYER_POOL_WINDOW_H
#define CUTLAYER_POOL_WINDOW_H

#include "cutlayer/kernels.h"

struct cl_pool_window {
    const int8_t *input; // its first element
    uint32_t rows;
    uint32_t columns;
};

// The window of output (y, x). It is never empty: TFLite's padding leaves no window outside.
static inline struct cl_pool_window cl_pool_window(const struct cl_pool_params *p,
                                                   const int8_t *input, uint32_t y, uint32_t x)
{
    const int32_t top = (int32_t)(y * p->stride_height) - p->pad_top;
    const int32_t left = (int32_t)(x * p->stride_width) - p->pad_left;
    const int32_t row = top < 0 ? 0 : top;
    const int32_t column = left < 0 ? 0 : left;
    const int32_t bottom = top + p->window_height;
    const int32_t right = left + p->window_width;
    const int32_t row_end = bottom < p->input.height ? bottom : p->input.height;
    const int32_t column_end = right < p->input.width ? right : p->input.width;
    const uint32_t first = (uint32_t)row * p->input.width + (uint32_t)column;
    struct cl_pool_window window;
    window.input = input + first * p->input.channels;
    window.rows = (uint32_t)(row_end - row);
    window.columns = (uint32_t)(column_end - column);
    return window;
}

#endif
