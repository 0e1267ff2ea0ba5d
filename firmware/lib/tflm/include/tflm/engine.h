// TensorFlow Lite Micro's interpreter as a cutlayer engine (cutlayer/engine.h). C++17: the only
// file that sees the library, with interpreter.cc. The library comes by lib_deps of the board's
// .ini; it knows nothing of cutlayer.
#ifndef TFLM_ENGINE_H
#define TFLM_ENGINE_H

#include <new>

// The library's headers are not clean under our warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"
#pragma GCC diagnostic pop

#include "cutlayer/engine.h"

namespace tflm
{

// An open interpreter, before the library has allocated anything.
struct Opening {
    struct cl_interpreter interpreter; // first: cutlayer looks for it here
    tflite::MicroInterpreter *library;
};

// Allocates the tensors and fills `opening` in. Returns the bytes of the tensor arena in use, or an
// error of cl_engine.open.
int32_t start(Opening *opening);

// cl_engine.open for the ops that `add_ops` adds to a `Resolver`. Everything lies in `memory`:
// Opening, resolver, interpreter, and the library's tensor arena behind them.
template <typename Resolver, TfLiteStatus (*add_ops)(Resolver &)>
int32_t open(const struct cl_engine *engine, void *memory, uint32_t memory_bytes)
{
    struct Parts {
        Opening opening;
        alignas(Resolver) unsigned char resolver[sizeof(Resolver)];
        alignas(tflite::MicroInterpreter) unsigned char library[sizeof(tflite::MicroInterpreter)];
    };
    constexpr uint32_t parts_bytes = (sizeof(Parts) + 15u) & ~15u;
    const tflite::Model *model = tflite::GetModel(engine->model);
    if (model->version() != TFLITE_SCHEMA_VERSION) {
        return CL_ERROR_VALUE;
    }
    if (memory_bytes <= parts_bytes) {
        return CL_ERROR_MEMORY;
    }
    Parts *parts = new (memory) Parts();
    Resolver *resolver = new (parts->resolver) Resolver();
    if (add_ops(*resolver) != kTfLiteOk) {
        return CL_ERROR_VALUE;
    }
    parts->opening.library = new (parts->library) tflite::MicroInterpreter(
        model, *resolver, static_cast<uint8_t *>(memory) + parts_bytes, memory_bytes - parts_bytes);
    int32_t arena_bytes = start(&parts->opening);
    return arena_bytes < 0 ? arena_bytes : arena_bytes + static_cast<int32_t>(parts_bytes);
}

} // namespace tflm

#endif
