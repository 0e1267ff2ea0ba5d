// The sensor of this build: what a microphone's sound becomes, or recorded inputs of the head.
#ifndef BUILD_SENSOR_H
#define BUILD_SENSOR_H

#include "board.h"
#include "cutlayer_build.h"

#if CUTLAYER_SENSOR_AUDIO
#include "kws/audio.h"
#define BUILD_SENSOR struct kws_audio
#else
#include "recorded/inputs.h"
#define BUILD_SENSOR struct recorded_inputs
#endif

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
