#include "cutlayer/head.h"

int32_t cl_head_run(const struct cl_head *head, int8_t *arena, uint16_t first, uint16_t last)
{
    if (first > last || last > head->op_count) {
        return CL_ERROR_ARGUMENT;
    }
    for (uint16_t i = first; i < last; i++) {
        const struct cl_op *op = &head->ops[i];
        op->kernel(op->params, arena + op->input, arena + op->second, arena + op->output,
                   arena + op->scratch);
    }
    return (int32_t)last;
}

uint32_t cl_shape_count(struct cl_shape shape)
{
    return (uint32_t)shape.height * shape.width * shape.channels;
}
