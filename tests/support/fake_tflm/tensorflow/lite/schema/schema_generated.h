// What firmware/lib/tflm asks of TensorFlow Lite Micro's library, for tests: see
// micro_interpreter.h.
#pragma once
#include <cstdint>

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite
{

struct Model {
    uint32_t version() const
    {
        return TFLITE_SCHEMA_VERSION;
    }
};

inline const Model *GetModel(const void *bytes)
{
    return static_cast<const Model *>(bytes);
}

} // namespace tflite
