// Recordings in flash, behind the program and flashed by themselves: what a board without a
// microphone or a debugger hears. boards/NAME.json says where
// (recordings_origin) and how much flash is kept for them.
//
//   0  u32  bytes of all recordings, 0xFFFFFFFF (erased): none
//   4  u32  labels
//   8       the recordings, then a byte for each label (255: none)
#include <string.h>

#include "cortex_m/cortex_m.h"
#include "cutlayer/sensor.h"

#ifdef CORTEX_M_RECORDINGS

struct flashed {
    uint32_t recording_bytes;
    uint32_t label_count;
    uint8_t data[CORTEX_M_RECORDINGS_BYTES - 8];
};

#define FLASHED ((const struct flashed *)CORTEX_M_RECORDINGS)
enum { NO_LABEL = 255 };

static int32_t read_flashed(void *context, uint32_t offset, void *data, uint32_t count)
{
    (void)context;
    uint32_t bytes = FLASHED->recording_bytes;
    uint32_t left = offset < bytes ? bytes - offset : 0;
    count = count < left ? count : left;
    memcpy(data, FLASHED->data + offset, count);
    return (int32_t)count;
}

static int32_t label_of(void *context, uint32_t recording)
{
    (void)context;
    if (recording >= FLASHED->label_count) {
        return CL_LABEL_NONE;
    }
    uint8_t label = FLASHED->data[FLASHED->recording_bytes + recording];
    return label == NO_LABEL ? CL_LABEL_NONE : label;
}

void cortex_m_open_flashed(struct cl_recordings *recordings)
{
    uint32_t bytes = FLASHED->recording_bytes;
    if (bytes <= sizeof FLASHED->data && FLASHED->label_count <= sizeof FLASHED->data - bytes) {
        recordings->read = read_flashed;
        recordings->label = label_of;
        recordings->bytes = bytes;
    }
}

#else

void cortex_m_open_flashed(struct cl_recordings *recordings)
{
    (void)recordings;
}

#endif
