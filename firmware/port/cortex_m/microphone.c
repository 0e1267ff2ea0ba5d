// A live microphone of an emulated board, by semihosting: a file that somebody else makes grow,
// samples s16le at 16 kHz; "live:PATH" on the command line.
#include "cortex_m/cortex_m.h"
#include "cortex_m/semihosting.h"

#define SAMPLE_BYTES 2u

struct stream {
    int32_t file;
    uint32_t position; // of the next sample, even
};

static struct stream the_stream;

static int32_t start(void *context)
{
    struct stream *stream = context;
    int32_t bytes = semihosting_bytes(stream->file);
    if (bytes < 0) {
        return CL_ERROR_PORT;
    }
    stream->position = (uint32_t)bytes / SAMPLE_BYTES * SAMPLE_BYTES;
    return CL_OK;
}

// Cortex-M and the file are little-endian alike.
static int32_t read_samples(void *context, int16_t *samples, uint32_t count)
{
    struct stream *stream = context;
    int32_t end = semihosting_bytes(stream->file);
    if (end < 0) {
        return CL_ERROR_PORT;
    }
    uint32_t there = (uint32_t)end > stream->position ? (uint32_t)end - stream->position : 0;
    count = there / SAMPLE_BYTES < count ? there / SAMPLE_BYTES : count;
    if (count == 0) {
        return 0;
    }
    int32_t bytes = semihosting_read(stream->file, stream->position, samples, count * SAMPLE_BYTES);
    if (bytes != (int32_t)(count * SAMPLE_BYTES)) {
        return CL_ERROR_PORT;
    }
    stream->position += count * SAMPLE_BYTES;
    return (int32_t)count;
}

static void stop(void *context)
{
    (void)context;
}

static const struct cl_microphone microphone = {&the_stream, start, read_samples, stop};

int32_t cortex_m_open_microphone(const struct cl_microphone **opened)
{
    char line[CORTEX_M_LINE_BYTES];
    const char *path = cortex_m_word(line, CORTEX_M_LIVE);
    *opened = 0;
    if (!path) {
        return CL_OK;
    }
    the_stream.file = semihosting_open(path);
    if (the_stream.file < 0) {
        return the_stream.file;
    }
    *opened = &microphone;
    return CL_OK;
}
