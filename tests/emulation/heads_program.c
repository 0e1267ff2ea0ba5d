// Runs each head of heads.h (generated) on its samples, and writes for each a line: the first
// sample whose output differs from what is expected (-1: none) and the ticks of its last run.
#include "heads.h"

#include "head_sample.h"

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
        const int8_t *row;
        memcpy(before, memory, sizeof(memory));
        const int32_t result = i < cl_head_whole_ops(head)
                                   ? cl_head_run(head, arena, i, (uint16_t)(i + 1))
                                   : cl_head_output(head, arena, 0, &row);
        if (result < 0) {
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

int main(void)
{
    TIMER->reload = 0xFFFFFFFFu;
    TIMER->value = 0xFFFFFFFFu;
    TIMER->control = 1;
    for (uint32_t i = 0; i < HEAD_COUNT; i++) {
        const struct cl_head *head = &heads[i].model->head;
        int32_t wrong = -1;
        uint32_t ticks = 0;
        for (uint32_t sample = heads[i].sample_count; sample-- > 0;) {
            put_sample(head, arena, heads[i].inputs, sample);
            const uint32_t start = TIMER->value;
            const int is_right = gives_sample(head, arena, heads[i].outputs, sample);
            ticks = start - TIMER->value;
            if (!is_right) {
                wrong = (int32_t)sample;
            }
            memset(memory, GUARD, sizeof(memory));
            put_sample(head, arena, heads[i].inputs, sample);
            if (!stays_inside(&heads[i])) {
                wrong = (int32_t)sample;
            }
        }
        say_number(wrong, " ");
        say_number((int32_t)ticks, "\n");
    }
    return 0;
}
