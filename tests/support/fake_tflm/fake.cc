#include "tensorflow/lite/micro/micro_interpreter.h"

#include <cstring>

extern "C" {
#include "cutlayer/model.h"
extern const struct cl_model part_model;
extern struct FakeTflm fake_tflm;
}

struct FakeTflm fake_tflm = {kTfLiteOk, kTfLiteInt8, 0, 100, 0};

// What the interpreter gives lies whole in its memory.
static int8_t whole_output[65536];

namespace tflite
{

MicroInterpreter::MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *arena,
                                   size_t arena_bytes)
    : arena_(reinterpret_cast<int8_t *>(arena)), arena_bytes_(arena_bytes)
{
}

TfLiteStatus MicroInterpreter::AllocateTensors()
{
    const struct cl_head *part = &part_model.head;
    const struct cl_cut *end = &part->cuts[part->cut_count - 1];
    input_ = {fake_tflm.type, {arena_ + part->input_offset}, cl_shape_count(part->input_shape)};
    output_ = {fake_tflm.type, {whole_output}, cl_shape_count(end->shape)};
    const bool fits = part->arena_bytes <= arena_bytes_ && output_.bytes <= sizeof(whole_output);
    return fits ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus MicroInterpreter::Invoke()
{
    const struct cl_head *part = &part_model.head;
    fake_tflm.invocations++;
    if (cl_head_run(part, arena_, 0, cl_head_whole_ops(part)) < 0) {
        return kTfLiteError;
    }
    for (size_t first = 0; first < output_.bytes;) {
        const int8_t *row;
        const int32_t count = cl_head_output(part, arena_, static_cast<uint32_t>(first), &row);
        if (count < 0) {
            return kTfLiteError;
        }
        std::memcpy(whole_output + first, row, static_cast<size_t>(count));
        first += static_cast<size_t>(count);
    }
    return fake_tflm.invoke;
}

TfLiteTensor *MicroInterpreter::input(size_t)
{
    return &input_;
}

TfLiteTensor *MicroInterpreter::output(size_t)
{
    return &output_;
}

size_t MicroInterpreter::arena_used_bytes() const
{
    return part_model.head.arena_bytes;
}

} // namespace tflite
