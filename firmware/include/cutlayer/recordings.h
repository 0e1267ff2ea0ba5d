// Recordings on the board's own side: what an emulated microphone hears, never on the link. A port
// gives them, a sensor reads them.
#ifndef CUTLAYER_RECORDINGS_H
#define CUTLAYER_RECORDINGS_H

#include "cutlayer/error.h"

struct cl_recordings {
    void *context;

    // Reads `count` bytes from `offset` on. Returns the bytes read (less at the end), or negative.
    int32_t (*read)(void *context, uint32_t offset, void *data, uint32_t count);

    // The label that somebody pressed a button for, 0 to 254, or CL_LABEL_NONE.
    int32_t (*label)(void *context, uint32_t recording);

    // All recordings together; 0 without any.
    uint32_t bytes;
};

#endif
