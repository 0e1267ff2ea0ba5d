// Where a head's input comes from. Raw data stays behind this: only int8 model input comes out, and
// only smashed data ever reaches the link.
#ifndef CUTLAYER_SENSOR_H
#define CUTLAYER_SENSOR_H

#include "cutlayer/error.h"

// `recording` when the host wants whatever the sensor hears next, not a stored recording.
#define CL_RECORDING_LIVE 0xFFFFFFFFu

// The label when the board knows none.
#define CL_LABEL_NONE (-1)

// What `step` returns when there is nothing to do before something is heard.
#define CL_SENSOR_WAITS 2

struct cl_sensor {
    void *context;

    // Bytes to work in that `start` is lent; 0 for none. The node lends its arena, in which nothing
    // but the head's input counts while a sample is captured.
    uint32_t memory_bytes;

    // Starts capturing one sample of `recording` (CL_RECORDING_LIVE or an index). Returns 0 or
    // negative.
    //
    // `memory` [memory_bytes], aligned to 16, is the sensor's from now until `start` returns
    // negative or `step` 1 or negative: nobody else writes there. When the host leaves meanwhile it
    // ends without a word, so `start` and `step` alone may touch it. It holds anything at first,
    // and nothing is kept there from one sample to the next.
    int32_t (*start)(void *context, uint32_t recording, void *memory);

    // Does a bounded piece of the work of capturing. Returns 0 for more to do, CL_SENSOR_WAITS for
    // more to do in some ms, 1 when `input` (int8, `input_bytes`, quantized with the head's input
    // scale and zero point) and `label` are filled, negative on failure. `input` is the sensor's as
    // `memory` is, and no part of it.
    int32_t (*step)(void *context, int8_t *input, uint32_t input_bytes, int32_t *label);

    // Stored recordings that the host may ask for by index; 0 for a live sensor only.
    uint32_t recording_count;

    // 1 when `start` takes CL_RECORDING_LIVE.
    uint8_t is_live;
};

#endif
