#define _XOPEN_SOURCE 700
#include "microphone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SAMPLES 160u // at a time, on the stack

struct stream {
    int file;
    off_t position; // of the next sample, even
};

static struct stream the_stream;

static off_t end_of(const struct stream *stream)
{
    struct stat status;
    return fstat(stream->file, &status) < 0 ? -1 : status.st_size / 2 * 2;
}

static int32_t start(void *context)
{
    struct stream *stream = context;
    stream->position = end_of(stream);
    return stream->position < 0 ? CL_ERROR_PORT : CL_OK;
}

static int32_t read_samples(void *context, int16_t *samples, uint32_t count)
{
    struct stream *stream = context;
    uint8_t bytes[2 * READ_SAMPLES];
    count = count < READ_SAMPLES ? count : READ_SAMPLES;
    ssize_t result = pread(stream->file, bytes, 2 * count, stream->position);
    if (result < 0) {
        return CL_ERROR_PORT;
    }
    count = (uint32_t)result / 2;
    for (uint32_t i = 0; i < count; ++i) {
        samples[i] = (int16_t)(uint16_t)(bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8);
    }
    stream->position += (off_t)(2 * count);
    return (int32_t)count;
}

static void stop(void *context)
{
    (void)context;
}

static const struct cl_microphone microphone = {&the_stream, start, read_samples, stop};

const struct cl_microphone *microphone_open(const char *path)
{
    the_stream.file = open(path, O_RDONLY);
    if (the_stream.file < 0 || end_of(&the_stream) < 0) {
        fprintf(stderr, "error: the live microphone's file %s cannot be read: %s\n", path,
                strerror(errno));
        return 0;
    }
    return &microphone;
}
