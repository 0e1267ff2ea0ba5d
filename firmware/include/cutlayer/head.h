// The compiled head: a TFLite int8 model as constant tables. The converter writes one `struct
// cl_model` (cutlayer_model.c); nothing here is parsed, allocated or registered at run time.
//
// Arithmetic is TensorFlow Lite Micro's int8 (gemmlowp double rounding), to the bit.
// Tensors are int8, NHWC, batch 1. Real value = scale * (q - zero_point).
#ifndef CUTLAYER_HEAD_H
#define CUTLAYER_HEAD_H

#include "cutlayer/error.h"

struct cl_shape {
    uint16_t height;
    uint16_t width;
    uint16_t channels;
};

struct cl_op;
struct cl_engine;

// One kernel run. `input`, `second` and `output` point into the arena (`second` only for two-input
// ops), and so does `scratch`. Kernels cannot fail: the converter checked shapes and memory.
typedef void (*cl_kernel)(const void *params, const int8_t *input, const int8_t *second,
                          int8_t *output, int8_t *scratch);

// The same for `count` rows of the output from row `first` on, and nothing of the others: for ops
// whose rows need no more of the input than a window. Of the input, `input` has the rows from row
// `begin` on, at least as far as the windows reach.
typedef void (*cl_row_kernel)(const void *params, const int8_t *input, uint16_t begin,
                              int8_t *output, int8_t *scratch, uint16_t first, uint16_t count);

struct cl_op {
    cl_kernel kernel;
    const void *params; // the kernel's own struct, see cutlayer/kernels.h
    uint32_t input;     // offsets into the arena, in bytes
    uint32_t second;
    uint32_t output;
    uint32_t scratch;
};

// A place where the head may stop: after the first `op_count` ops the smashed data lies at
// `offset`.
struct cl_cut {
    uint16_t op_count; // 0: an interpreter (engine.h) does not stop here
    int8_t zero_point;
    int8_t activation_min; // clamped ends of the range: y there has no gradient
    int8_t activation_max;
    float scale;
    struct cl_shape shape;
    uint32_t offset; // into the arena; of one row where the head makes rows
};

struct cl_head {
    const struct cl_op *ops;
    const struct cl_cut *cuts; // shallowest first; the last one is the end of the ops
    uint16_t op_count;
    uint16_t cut_count;
    struct cl_shape input_shape;
    uint32_t input_offset;  // into the arena
    uint32_t sensor_offset; // likewise, to 16: from here on a sensor may work, behind the input
    float input_scale;
    int8_t input_zero_point;
    uint32_t arena_bytes;           // aligned to 16
    const struct cl_engine *engine; // null for a compiled head, see cutlayer/engine.h

    // The last op makes its output a row at a time, as it is asked for, from an input that stays:
    // the arena holds one row of it. Null: the output is in the arena whole.
    cl_row_kernel rows;
};

// The ops that run whole: all, or all but the last one where that makes rows.
uint16_t cl_head_whole_ops(const struct cl_head *head);

// Runs ops [first, last) on the arena, last <= cl_head_whole_ops. Returns `last`, or
// CL_ERROR_ARGUMENT when out of range.
int32_t cl_head_run(const struct cl_head *head, int8_t *arena, uint16_t first,
                    uint16_t last) CL_CHECK_RESULT;

// Where the head has `rows`: makes that row of its output, over the one in the arena.
void cl_head_row(const struct cl_head *head, int8_t *arena, uint16_t row);

// The smashed data of the deepest cut from element `first` on, when the whole ops have run. Sets
// `output` and returns how many elements lie there: those to the end of its row, which is made now,
// or all that are left. CL_ERROR_ARGUMENT when there is no such element.
int32_t cl_head_output(const struct cl_head *head, int8_t *arena, uint32_t first,
                       const int8_t **output) CL_CHECK_RESULT;

// Elements of a shape, and of one of its rows.
uint32_t cl_shape_row(struct cl_shape shape);
uint32_t cl_shape_count(struct cl_shape shape);

#endif
