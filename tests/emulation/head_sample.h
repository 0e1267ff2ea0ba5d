// Running a head on samples whose outputs are known, and saying numbers of it.
#ifndef HEAD_SAMPLE_H
#define HEAD_SAMPLE_H

#include <string.h>

#include "cutlayer/head.h"

// Writes to the console of the emulator.
void say(const char *text);

static void say_number(int32_t number, const char *end)
{
    char text[12];
    uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    char *start = &text[11];
    *start = '\0';
    do {
        *--start = (char)('0' + rest % 10u);
        rest /= 10u;
    } while (rest);
    if (number < 0) {
        *--start = '-';
    }
    say(start);
    say(end);
}

// Puts sample number `sample` of `inputs` where the head reads it.
static void put_sample(const struct cl_head *head, int8_t *arena, const int8_t *inputs,
                       uint32_t sample)
{
    const uint32_t count = cl_shape_count(head->input_shape);
    memcpy(arena + head->input_offset, inputs + sample * count, count);
}

// Whether the head's last cut holds what `outputs` has for that sample.
static int gives_sample(const struct cl_head *head, const int8_t *arena, const int8_t *outputs,
                        uint32_t sample)
{
    const struct cl_cut *end = &head->cuts[head->cut_count - 1];
    const uint32_t count = cl_shape_count(end->shape);
    return memcmp(arena + end->offset, outputs + sample * count, count) == 0;
}

#endif
