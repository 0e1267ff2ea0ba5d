#include "cutlayer/engine.h"

#include <string.h>

int32_t cl_engine_open(const struct cl_head *head, int8_t *arena)
{
    const struct cl_engine *engine = head->engine;
    if (!engine) {
        return CL_OK;
    }
    int8_t *memory = arena + head->ops[0].scratch;
    int32_t needed = engine->open(engine, memory, engine->memory_bytes);
    if (needed < 0) {
        return needed;
    }
    struct cl_interpreter *interpreter = (struct cl_interpreter *)(void *)memory;
    if (interpreter->input.count != engine->input_count ||
        interpreter->output.count != engine->output_count) {
        return CL_ERROR_VALUE;
    }
    memset(interpreter->input.data, 0, (size_t)interpreter->input.count);
    int32_t result = interpreter->invoke(interpreter);
    return result < 0 ? result : needed;
}

void cl_engine_run(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                   int8_t *scratch)
{
    const struct cl_engine *engine = params;
    struct cl_interpreter *interpreter = (struct cl_interpreter *)(void *)scratch;
    (void)second;
    memcpy(interpreter->input.data, input, (size_t)engine->input_count);
    int32_t result = interpreter->invoke(interpreter);
    (void)result; // cl_engine_open has shown that it runs, and no op looks at values
    memcpy(output, interpreter->output.data, (size_t)engine->output_count);
}
