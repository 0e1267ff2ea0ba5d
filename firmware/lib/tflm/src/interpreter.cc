#include "tflm/engine.h"

namespace tflm
{

namespace
{

int32_t invoke(struct cl_interpreter *interpreter)
{
    Opening *opening = reinterpret_cast<Opening *>(interpreter);
    return opening->library->Invoke() == kTfLiteOk ? CL_OK : CL_ERROR_VALUE;
}

// An empty tensor unless it is int8.
struct cl_interpreted_tensor int8_tensor(TfLiteTensor *tensor)
{
    if (!tensor || tensor->type != kTfLiteInt8) {
        return {nullptr, 0};
    }
    return {tensor->data.int8, static_cast<uint32_t>(tensor->bytes)};
}

} // namespace

int32_t start(Opening *opening)
{
    tflite::MicroInterpreter &library = *opening->library;
    // The library does not tell too little memory from an op it cannot prepare; the converter has
    // checked the ops.
    if (library.AllocateTensors() != kTfLiteOk) {
        return CL_ERROR_MEMORY;
    }
    opening->interpreter.invoke = invoke;
    opening->interpreter.input = int8_tensor(library.input(0));
    opening->interpreter.output = int8_tensor(library.output(0));
    return static_cast<int32_t>(library.arena_used_bytes());
}

} // namespace tflm
