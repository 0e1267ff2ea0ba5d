// A row of outputs: its tiles, and the lines of input under it, copied with the zero point around
// them. The output may then be the input, if it never overtakes the lines still to be copied.
#ifndef CUTLAYER_LINES_H
#define CUTLAYER_LINES_H

#include <string.h>

#include "cutlayer/kernels_packed.h"

// Positions of the next tile when `left` are left of a row: 3, or 2, or a single one.
static inline uint32_t cl_tile_width(uint32_t left)
{
    return left == 3 || left > 4 ? 3 : left > 1 ? 2 : 1;
}

// The lines under output row y, `line_pitch` bytes apart. Those that were under the row before are
// moved and not copied again: by then the output may lie over them.
static void cl_copy_lines(const struct cl_packed_params *p, const int8_t *input, uint32_t y,
                          int8_t *lines)
{
    const uint32_t input_bytes = (uint32_t)p->input.width * p->input.channels;
    const uint32_t before = (uint32_t)p->pad_left * p->input.channels;
    const uint32_t room = p->line_pitch - before;
    const uint32_t inside = room < input_bytes ? room : input_bytes;
    uint32_t ky = 0;
    if (y > 0 && p->kernel_height > p->stride_height) {
        ky = (uint32_t)p->kernel_height - p->stride_height;
        memmove(lines, lines + p->stride_height * p->line_pitch, (size_t)(ky * p->line_pitch));
        lines += ky * p->line_pitch;
    }
    for (; ky < p->kernel_height; ky++, lines += p->line_pitch) {
        const int32_t line = (int32_t)(y * p->stride_height + ky) - p->pad_top;
        if (line < 0 || line >= (int32_t)p->input.height) {
            memset(lines, p->input_zero_point, (size_t)p->line_pitch);
            continue;
        }
        memset(lines, p->input_zero_point, (size_t)before);
        memcpy(lines + before, input + (uint32_t)line * input_bytes, (size_t)inside);
        memset(lines + before + inside, p->input_zero_point, (size_t)(room - inside));
    }
}

#endif
