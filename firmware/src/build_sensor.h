// The sensor of this build: what a microphone's sound becomes, or recorded inputs of the head.
#ifndef BUILD_SENSOR_H
#define BUILD_SENSOR_H

#include "board.h"
#include "cutlayer/node.h"
#include "cutlayer_build.h"
#include "cutlayer_model.h"

#if CUTLAYER_SENSOR_AUDIO
#include "kws/audio.h"
#define BUILD_SENSOR struct kws_audio
#define BUILD_SENSOR_BYTES sizeof(struct kws_audio_work)
#else
#include "recorded/inputs.h"
#define BUILD_SENSOR struct recorded_inputs
#define BUILD_SENSOR_BYTES 0u
#endif

// The node's memory for this model and this sensor.
#define BUILD_NODE_BYTES                                                                           \
    (CUTLAYER_NODE_BYTES + CL_NODE_SENSOR_BYTES(CUTLAYER_MODEL_ARENA_BYTES,                        \
                                                CUTLAYER_MODEL_SENSOR_OFFSET, BUILD_SENSOR_BYTES))

// Returns negative when the board's recordings are not what the head takes.
CL_CHECK_RESULT static inline int32_t build_sensor_open(BUILD_SENSOR *sensor, struct board *board,
                                                        const struct cl_head *head)
{
#if CUTLAYER_SENSOR_AUDIO
    int32_t result = kws_audio_init(sensor, &board->recordings, head);
    if (result >= 0) {
        kws_audio_listen(sensor, board->microphone, &board->port);
    }
    return result;
#else
    return recorded_inputs_init(sensor, &board->recordings, head);
#endif
}

#endif
