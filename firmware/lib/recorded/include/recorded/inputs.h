// A sensor for heads that do not listen: the recordings hold int8 head inputs, one after another,
// already quantized with the head's input scale and zero point. CL_RECORDING_LIVE takes them in
// turn.
#ifndef RECORDED_INPUTS_H
#define RECORDED_INPUTS_H

#include "cutlayer/head.h"
#include "cutlayer/recordings.h"
#include "cutlayer/sensor.h"

struct recorded_inputs {
    struct cl_sensor sensor; // hand this to the node
    const struct cl_recordings *recordings;
    uint32_t input_bytes;
    uint32_t recording; // being captured
    uint32_t next_live;
};

// Prepares a sensor for inputs of the head's shape. Returns the number of recordings.
int32_t recorded_inputs_init(struct recorded_inputs *inputs, const struct cl_recordings *recordings,
                             const struct cl_head *head) CL_CHECK_RESULT;

#endif
