// A compiled head on an emulated Cortex-M, for cutlayer_converter.measure.
//
// With BENCH_COUNT it runs each sample of bench_samples.h and writes lines to the console:
//   total TICKS, op INDEX TICKS, stack BYTES (of the last sample), output HEX (of every sample).
// Without, it only runs the head: what its flash is.
#include "bench_machine.h"
#include "cutlayer_model.h"

static int8_t arena[CUTLAYER_MODEL_ARENA_BYTES] __attribute__((aligned(16)));

// Ops [first, last); a last op that makes rows makes all of them.
static void run(uint16_t first, uint16_t last)
{
    const struct cl_head *head = &cutlayer_model.head;
    const uint16_t whole = cl_head_whole_ops(head);
    int32_t count = cl_head_run(head, arena, first, last < whole ? last : whole);
    for (uint32_t i = 0; last > whole && count >= 0 && i < CUTLAYER_MODEL_SMASHED_COUNT;) {
        const int8_t *y;
        count = cl_head_output(head, arena, i, &y);
        i += (uint32_t)count;
    }
}

#if defined(BENCH_COUNT)
#include <string.h>

#include "bench_samples.h"

static void say_output(void)
{
    int32_t left = 0;
    const int8_t *y = arena;
    say("output ");
    for (uint32_t i = 0; i < CUTLAYER_MODEL_SMASHED_COUNT; i++, left--, y++) {
        if (left == 0) {
            left = cl_head_output(&cutlayer_model.head, arena, i, &y);
        }
        const uint8_t byte = (uint8_t)*y;
        const char text[3] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15u], '\0'};
        say(text);
    }
    say("\n");
}

static uint32_t ticks(uint16_t first, uint16_t last)
{
    const uint32_t start = TIMER->value;
    run(first, last);
    return start - TIMER->value;
}

static void run_all(void)
{
    run(0, cutlayer_model.head.op_count);
}

static void count(void)
{
    const struct cl_head *head = &cutlayer_model.head;
    for (uint32_t sample = 0; sample < SAMPLE_COUNT; sample++) {
        int8_t *const input = arena + head->input_offset;
        memcpy(input, samples[sample], sizeof(samples[sample]));
        if (sample + 1 == SAMPLE_COUNT) {
            const uint32_t nothing = ticks(0, 0);
            say_number("stack ", stack_bytes(run_all));
            memcpy(input, samples[sample], sizeof(samples[sample]));
            for (uint16_t i = 0; i < head->op_count; i++) {
                const uint32_t spent = ticks(i, (uint16_t)(i + 1)) - nothing;
                say_number("\nop ", i);
                say_number(" ", spent);
            }
            memcpy(input, samples[sample], sizeof(samples[sample]));
            say_number("\ntotal ", ticks(0, head->op_count) - nothing);
            say("\n");
        } else {
            run(0, head->op_count);
        }
        say_output();
    }
}
#else
static void count(void)
{
    run(0, cutlayer_model.head.op_count);
}
#endif
