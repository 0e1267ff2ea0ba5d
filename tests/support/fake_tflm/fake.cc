#include "tensorflow/lite/micro/micro_interpreter.h"

extern "C" {
#include "cutlayer/model.h"
extern const struct cl_model part_model;
extern struct FakeTflm fake_tflm;
}

struct FakeTflm fake_tflm = {kTfLiteOk, kTfLiteInt8, 0, 100, 0};

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
    output_ = {fake_tflm.type, {arena_ + end->offset}, cl_shape_count(end->shape)};
    return arena_bytes_ < part->arena_bytes ? kTfLiteError : kTfLiteOk;
}

TfLiteStatus MicroInterpreter::Invoke()
{
    const struct cl_head *part = &part_model.head;
    fake_tflm.invocations++;
    if (cl_head_run(part, arena_, 0, part->op_count) < 0) {
        return kTfLiteError;
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
