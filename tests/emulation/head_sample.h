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

// Runs the head. Whether its smashed data are what `outputs` has for that sample.
static int gives_sample(const struct cl_head *head, int8_t *arena, const int8_t *outputs,
                        uint32_t sample)
{
    const uint32_t total = cl_shape_count(head->cuts[head->cut_count - 1].shape);
    const uint16_t end = cl_head_whole_ops(head);
    int is_same = cl_head_run(head, arena, 0, end) == end;
    outputs += sample * total;
    for (uint32_t first = 0; is_same && first < total;) {
        const int8_t *found;
        const int32_t count = cl_head_output(head, arena, first, &found);
        is_same = count > 0 && memcmp(found, outputs + first, (uint32_t)count) == 0;
        first += (uint32_t)count;
    }
    return is_same;
}

#endif
