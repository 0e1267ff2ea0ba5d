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
        const uint16_t end = cl_head_whole_ops(head);
        uint8_t wrong = cl_head_run(head, arena, 0, end) != end;
        for (uint16_t i = 0, left = 0; i < OUTPUT_COUNT; i++, left--) {
            const int8_t *found;
            if (left == 0) {
                left = (uint16_t)cl_head_output(head, arena, i, &found);
            }
            const uint8_t expected = pgm_read_byte(outputs + sample * OUTPUT_COUNT + i);
            wrong = (uint8_t)(wrong || expected != (uint8_t)*found++);
        }
        say(wrong ? "wrong\n" : "ok\n");
    }
    return 0;
}
