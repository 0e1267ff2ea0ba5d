// Two ops, some rows at a time. Known as depth-first or patch-based inference: Lin et al.,
// "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning", 2021; here a patch is
// some rows of the output, and no line between the two ops is worked out twice.
#include "cutlayer/kernels.h"

#include <string.h>

// Lines [first, end) of what lies between the two ops; line `first` is at `at`.
struct lines {
    int8_t *at;
    uint32_t line_bytes;
    uint16_t first;
    uint16_t end;
};

// Forgets the lines before `first`.
static void forget(struct lines *lines, uint16_t first)
{
    const uint16_t end = lines->end > first ? lines->end : first;
    const uint32_t gone = (uint32_t)(first - lines->first) * lines->line_bytes;
    const uint32_t kept = (uint32_t)(end - first) * lines->line_bytes;
    memmove(lines->at, lines->at + gone, (size_t)kept);
    lines->first = first;
    lines->end = end;
}

void cl_fused(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
              int8_t *scratch)
{
    const struct cl_fused_params *p = params;
    struct lines lines = {scratch, cl_shape_row(p->between), 0, 0};
    uint16_t count;
    (void)second;
    scratch += p->scratch;
    for (uint16_t row = 0; row < p->output.height; row = (uint16_t)(row + count)) {
        const uint16_t left = (uint16_t)(p->output.height - row);
        count = left < p->rows ? left : p->rows;
        const int32_t top = (int32_t)((uint32_t)row * p->stride_height) - p->pad_top;
        const int32_t below = top + (count - 1) * (int32_t)p->stride_height + p->kernel_height;
        const uint16_t end = (uint16_t)(below < p->between.height ? below : p->between.height);
        if (top > (int32_t)lines.first) {
            forget(&lines, (uint16_t)top);
        }
        if (end > lines.end) {
            p->first(p->first_params, input, 0,
                     lines.at + (uint32_t)(lines.end - lines.first) * lines.line_bytes, scratch,
                     lines.end, (uint16_t)(end - lines.end));
            lines.end = end;
        }
        p->second(p->second_params, lines.at, lines.first, output, scratch, row, count);
        output += count * cl_shape_row(p->output);
    }
}
