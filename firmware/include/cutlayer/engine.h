// The head's engine. There are two; both give the same bytes, and a head's table says which it has:
//
//   compiled     every op is a kernel of cutlayer/kernels.h; nothing has to be opened;
//   interpreter  the first op is cl_engine_run: an interpreter (TensorFlow Lite Micro's) runs all
//                ops before the trainable layer from their flatbuffer. The trainable layer is a
//                compiled op behind it, because its weights change.
//
// An interpreter lives in the arena, from the scratch offset of its op on: cl_head.arena_bytes
// holds it, and nothing else is ever written there. It cannot stop on its way: cuts inside it have
// op_count 0, and the session refuses them.
#ifndef CUTLAYER_ENGINE_H
#define CUTLAYER_ENGINE_H

#include "cutlayer/head.h"

#ifdef __cplusplus
extern "C" {
#endif

// Bytes of int8 that an interpreter takes or makes; they lie in its own memory.
struct cl_interpreted_tensor {
    int8_t *data;
    uint32_t count;
};

// An interpreter that is open. It lies at the start of its memory, with the library's own state
// behind it.
struct cl_interpreter {
    // Runs the model from `input` to `output`. Returns 0 or a negative error.
    int32_t (*invoke)(struct cl_interpreter *interpreter);
    struct cl_interpreted_tensor input;
    struct cl_interpreted_tensor output;
};

// What an interpreter runs, and how to open one. A library's (firmware/lib/tflm); its file is made
// by the converter.
struct cl_engine {
    // Makes a struct cl_interpreter at the start of `memory`, aligned to 16. Returns the bytes that
    // it needed, CL_ERROR_MEMORY when there are not enough, CL_ERROR_VALUE for a model that the
    // library cannot run.
    int32_t (*open)(const struct cl_engine *engine, void *memory, uint32_t memory_bytes);
    const void *model; // flatbuffer, aligned to 16
    uint32_t memory_bytes;
    uint32_t input_count; // int8 elements of the model's input and output
    uint32_t output_count;
};

// Opens the head's interpreter in its arena and runs it once, so that whatever it cannot run is
// found here and not while it is in use. A compiled head needs none: returns 0. Returns the bytes
// that the interpreter needed, or the error of cl_engine.open or invoke; CL_ERROR_VALUE for tensors
// of another size than the table's.
int32_t cl_engine_open(const struct cl_head *head, int8_t *arena) CL_CHECK_RESULT;

// The kernel (head.h) that stands for an opened interpreter; `params` is its struct cl_engine.
void cl_engine_run(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                   int8_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
