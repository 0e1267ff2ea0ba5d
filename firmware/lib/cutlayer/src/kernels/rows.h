// Some rows of a kernel's output, made by the kernel itself on the part of its input under them.
#ifndef CUTLAYER_ROWS_H
#define CUTLAYER_ROWS_H

#include "cutlayer/head.h"

// Output rows [first, first + count), and where their windows are.
struct cl_rows {
    uint16_t first;
    uint16_t count;
    uint8_t kernel_height;
    uint8_t stride_height;
};

// Leaves of the shapes and the padding what `rows` are and their windows see. Returns the elements
// of the input, of which the rows from `begin` on are there, before the first row that they see.
static inline uint32_t cl_take_rows(struct cl_rows rows, uint16_t begin, struct cl_shape *input,
                                    struct cl_shape *output, uint8_t *pad_top)
{
    const int32_t top = (int32_t)((uint32_t)rows.first * rows.stride_height) - *pad_top;
    const int32_t end = top + (rows.count - 1) * rows.stride_height + rows.kernel_height;
    const int32_t first = top > 0 ? top : 0;
    const int32_t last = end < (int32_t)input->height ? end : (int32_t)input->height;
    *pad_top = (uint8_t)(first - top);
    input->height = (uint16_t)(last - first);
    output->height = rows.count;
    return (uint32_t)(first - begin) * cl_shape_row(*input);
}

#endif
