// Some rows of a kernel's output, made by the kernel itself on the part of its input under them.
#ifndef CUTLAYER_ROWS_H
#define CUTLAYER_ROWS_H

#include "cutlayer/head.h"

// Takes the rows above the windows of output row `first` off the shape of the input and its
// padding. Returns the elements of the input before what is left.
static inline uint32_t cl_rows_above(struct cl_shape *input, uint8_t *pad_top, uint8_t stride,
                                     uint16_t first)
{
    const int32_t top = (int32_t)((uint32_t)first * stride) - *pad_top;
    const uint32_t above = top > 0 ? (uint32_t)top : 0;
    *pad_top = (uint8_t)(top < 0 ? -top : 0);
    input->height = (uint16_t)(input->height - above);
    return above * cl_shape_row(*input);
}

#endif
