// A microphone: what is heard as it is heard, PCM of 16 bits at 16 kHz. A port gives one, a sensor
// listens to it; it is never on the link.
#ifndef CUTLAYER_MICROPHONE_H
#define CUTLAYER_MICROPHONE_H

#include "cutlayer/error.h"

struct cl_microphone {
    void *context;

    // Starts to listen; what was heard before is dropped. Returns 0 or negative.
    int32_t (*start)(void *context);

    // Reads up to `count` samples in the order heard. Never blocks. Returns the samples read, 0 for
    // none yet, negative when some were lost because nobody read for too long.
    int32_t (*read)(void *context, int16_t *samples, uint32_t count);

    // Ends listening.
    void (*stop)(void *context);
};

#endif
