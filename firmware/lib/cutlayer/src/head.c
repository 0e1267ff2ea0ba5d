#include "cutlayer/head.h"

uint16_t cl_head_whole_ops(const struct cl_head *head)
{
    return (uint16_t)(head->rows ? head->op_count - 1 : head->op_count);
}

int32_t cl_head_run(const struct cl_head *head, int8_t *arena, uint16_t first, uint16_t last)
{
    if (first > last || last > cl_head_whole_ops(head)) {
        return CL_ERROR_ARGUMENT;
    }
    for (uint16_t i = first; i < last; i++) {
        const struct cl_op *op = &head->ops[i];
        op->kernel(op->params, arena + op->input, arena + op->second, arena + op->output,
                   arena + op->scratch);
    }
    return (int32_t)last;
}

void cl_head_row(const struct cl_head *head, int8_t *arena, uint16_t row)
{
    const struct cl_op *op = &head->ops[head->op_count - 1];
    head->rows(op->params, arena + op->input, 0, arena + op->output, arena + op->scratch, row, 1);
}

int32_t cl_head_output(const struct cl_head *head, int8_t *arena, uint32_t first,
                       const int8_t **output)
{
    const struct cl_cut *end = &head->cuts[head->cut_count - 1];
    const uint32_t count = cl_shape_count(end->shape), row = cl_shape_row(end->shape);
    if (first >= count) {
        return CL_ERROR_ARGUMENT;
    }
    if (!head->rows) {
        *output = arena + end->offset + first;
        return (int32_t)(count - first);
    }
    cl_head_row(head, arena, (uint16_t)(first / row));
    *output = arena + end->offset + first % row;
    return (int32_t)(row - first % row);
}

uint32_t cl_shape_row(struct cl_shape shape)
{
    return (uint32_t)shape.width * shape.channels;
}

uint32_t cl_shape_count(struct cl_shape shape)
{
    return shape.height * cl_shape_row(shape);
}
