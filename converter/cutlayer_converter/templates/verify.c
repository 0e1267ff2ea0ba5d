// A compiled head as a shared library, for cutlayer_converter.verify.
#include "cutlayer_model.h"

static int8_t arena[CUTLAYER_MODEL_ARENA_BYTES];

int8_t *cutlayer_verify_arena(void);
int32_t cutlayer_verify_run(uint16_t first, uint16_t last);

int8_t *cutlayer_verify_arena(void)
{
    return arena;
}

int32_t cutlayer_verify_run(uint16_t first, uint16_t last)
{
    return cl_head_run(&cutlayer_model.head, arena, first, last);
}
