// Runs each head of heads.h (generated) on its samples, and writes for each a line: the first
// sample whose output differs from what is expected (-1: none) and the ticks of its last run.
#include <string.h>

#include "heads.h"

void say(const char *text);

// CMSDK timer 0 counts down at 25 MHz.
struct timer {
    uint32_t control, value, reload;
};
#define TIMER ((volatile struct timer *)0x40000000u)

#define GUARD_BYTES 64u
#define GUARD 0x5A

static int8_t memory[ARENA_BYTES + 2 * GUARD_BYTES] __attribute__((aligned(16)));
static int8_t before[sizeof(memory)];
static int8_t *const arena = memory + GUARD_BYTES;

// Whether each kernel writes its output and its scratch memory only.
static int stays_inside(const struct head_case *head_case)
{
    const struct cl_head *head = &head_case->model->head;
    for (uint16_t i = 0; i < head->op_count; i++) {
        const struct cl_op *op = &head->ops[i];
        memcpy(before, memory, sizeof(memory));
        if (cl_head_run(head, arena, i, (uint16_t)(i + 1)) != i + 1) {
            return 0;
        }
        memcpy(before + GUARD_BYTES + op->output, arena + op->output, head_case->sizes[i].output);
        memcpy(before + GUARD_BYTES + op->scratch, arena + op->scratch,
               head_case->sizes[i].scratch);
        if (memcmp(before, memory, sizeof(memory)) != 0) {
            return 0;
        }
    }
    return 1;
}

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

int main(void)
{
    TIMER->reload = 0xFFFFFFFFu;
    TIMER->value = 0xFFFFFFFFu;
    TIMER->control = 1;
    for (uint32_t i = 0; i < HEAD_COUNT; i++) {
        const struct cl_head *head = &heads[i].model->head;
        const struct cl_cut *end = &head->cuts[head->cut_count - 1];
        const uint32_t input_count = cl_shape_count(head->input_shape);
        const uint32_t output_count = cl_shape_count(end->shape);
        int32_t wrong = -1;
        uint32_t ticks = 0;
        for (uint32_t sample = heads[i].sample_count; sample-- > 0;) {
            memcpy(arena + head->input_offset, heads[i].inputs + sample * input_count, input_count);
            const uint32_t start = TIMER->value;
            const int32_t result = cl_head_run(head, arena, 0, head->op_count);
            ticks = start - TIMER->value;
            const int8_t *expected = heads[i].outputs + sample * output_count;
            if (result != head->op_count || memcmp(arena + end->offset, expected, output_count)) {
                wrong = (int32_t)sample;
            }
            memset(memory, GUARD, sizeof(memory));
            memcpy(arena + head->input_offset, heads[i].inputs + sample * input_count, input_count);
            if (!stays_inside(&heads[i])) {
                wrong = (int32_t)sample;
            }
        }
        say_number(wrong, " ");
        say_number((int32_t)ticks, "\n");
    }
    return 0;
}
