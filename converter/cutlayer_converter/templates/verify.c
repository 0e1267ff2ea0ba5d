// A compiled head as a shared library, for cutlayer_converter.verify.
#include "cutlayer_model.h"

#include <string.h>

static int8_t arena[CUTLAYER_MODEL_ARENA_BYTES];

int8_t *cutlayer_verify_arena(void);
int32_t cutlayer_verify_run(uint16_t first, uint16_t last);
int32_t cutlayer_verify_output(int8_t *output);

int8_t *cutlayer_verify_arena(void)
{
    return arena;
}

int32_t cutlayer_verify_run(uint16_t first, uint16_t last)
{
    return cl_head_run(&cutlayer_model.head, arena, first, last);
}

int32_t cutlayer_verify_output(int8_t *output)
{
    int32_t count = 0;
    for (uint32_t first = 0; first < CUTLAYER_MODEL_SMASHED_COUNT; first += (uint32_t)count) {
        const int8_t *y;
        count = cl_head_output(&cutlayer_model.head, arena, first, &y);
        if (count < 0) {
            return count;
        }
        memcpy(output + first, y, (size_t)count);
    }
    return (int32_t)CUTLAYER_MODEL_SMASHED_COUNT;
}
