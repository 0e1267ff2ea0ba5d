// A stand-in for TensorFlow Lite Micro's interpreter: it runs a compiled head, `part_model`, in its
// tensor arena. Tests set what it answers.
#pragma once
#include <cstddef>
#include <cstdint>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType = 0, kTfLiteInt8 = 9 };

struct TfLiteTensor {
    TfLiteType type;
    struct {
        int8_t *int8;
    } data;
    size_t bytes;
};

struct FakeTflm {
    TfLiteStatus invoke;
    TfLiteType type;
    uint32_t ops;      // added to the resolver
    uint32_t ops_fail; // from this one on
    uint32_t invocations;
};

extern "C" struct FakeTflm fake_tflm;

namespace tflite
{

struct Model;
class MicroOpResolver
{
};

class MicroInterpreter
{
  public:
    MicroInterpreter(const Model *model, const MicroOpResolver &resolver, uint8_t *arena,
                     size_t arena_bytes);
    TfLiteStatus AllocateTensors();
    TfLiteStatus Invoke();
    TfLiteTensor *input(size_t index);
    TfLiteTensor *output(size_t index);
    size_t arena_used_bytes() const;

  private:
    int8_t *arena_;
    size_t arena_bytes_;
    TfLiteTensor input_;
    TfLiteTensor output_;
};

} // namespace tflite
