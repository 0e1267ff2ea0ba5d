#include "recorded/inputs.h"

static int32_t start(void *context, uint32_t recording, void *memory)
{
    struct recorded_inputs *inputs = context;
    (void)memory;
    uint32_t count = inputs->sensor.recording_count;
    if (recording == CL_RECORDING_LIVE && count > 0) {
        recording = inputs->next_live;
        inputs->next_live = (recording + 1) % count;
    }
    if (recording >= count) {
        return CL_ERROR_SENSOR;
    }
    inputs->recording = recording;
    return CL_OK;
}

static int32_t step(void *context, int8_t *input, uint32_t input_bytes, int32_t *label)
{
    struct recorded_inputs *inputs = context;
    const struct cl_recordings *recordings = inputs->recordings;
    if (input_bytes != inputs->input_bytes) {
        return CL_ERROR_ARGUMENT;
    }
    int32_t count =
        recordings->read(recordings->context, inputs->recording * input_bytes, input, input_bytes);
    if (count < 0 || (uint32_t)count != input_bytes) {
        return CL_ERROR_SENSOR;
    }
    *label = recordings->label(recordings->context, inputs->recording);
    return 1;
}

int32_t recorded_inputs_init(struct recorded_inputs *inputs, const struct cl_recordings *recordings,
                             const struct cl_head *head)
{
    inputs->recordings = recordings;
    inputs->input_bytes = cl_shape_count(head->input_shape);
    inputs->recording = 0;
    inputs->next_live = 0;
    inputs->sensor.context = inputs;
    inputs->sensor.memory_bytes = 0;
    inputs->sensor.start = start;
    inputs->sensor.step = step;
    inputs->sensor.recording_count =
        inputs->input_bytes > 0 ? recordings->bytes / inputs->input_bytes : 0;
    return (int32_t)inputs->sensor.recording_count;
}
