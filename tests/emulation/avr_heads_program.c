// Runs the head of head_case.h (generated) on its samples, on an AVR of 8 KB, and says of each "ok"
// or "wrong". Samples and expected outputs lie in flash.
#include <avr/pgmspace.h>

#include "head_case.h"

void say(const char *text);
int main(void);

static int8_t arena[ARENA_BYTES] __attribute__((aligned(16)));

int main(void)
{
    const struct cl_head *head = &cutlayer_model.head;
    for (uint16_t sample = 0; sample < SAMPLE_COUNT; sample++) {
        memcpy_P(arena + head->input_offset, inputs + sample * INPUT_COUNT, INPUT_COUNT);
        uint8_t wrong = cl_head_run(head, arena, 0, head->op_count) != head->op_count;
        const int8_t *found = arena + head->cuts[head->cut_count - 1].offset;
        for (uint16_t i = 0; i < OUTPUT_COUNT; i++) {
            const uint8_t expected = pgm_read_byte(outputs + sample * OUTPUT_COUNT + i);
            wrong = (uint8_t)(wrong || expected != (uint8_t)found[i]);
        }
        say(wrong ? "wrong\n" : "ok\n");
    }
    return 0;
}
