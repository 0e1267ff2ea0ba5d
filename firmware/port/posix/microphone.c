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
#define DROPS_MAX 1024u   // reads, for a pipe that is filled as fast as it is emptied

struct stream {
    int file;
    int is_pipe;
    int listens;
    off_t position;   // in a file: of the next sample, even
    uint8_t half;     // of a pipe: the first byte of a sample
    uint8_t has_half; // whose second has not come
};

static struct stream the_stream = {.file = -1};

static off_t end_of(const struct stream *stream)
{
    struct stat status;
    return fstat(stream->file, &status) < 0 ? -1 : status.st_size / 2 * 2;
}

// Reads up to `capacity` bytes, even, with the half sample before. Returns the bytes, of which an
// odd last one is in `half`, or negative.
static int32_t read_pipe(struct stream *stream, uint8_t *bytes, uint32_t capacity)
{
    uint32_t before = stream->has_half;
    bytes[0] = stream->half;
    ssize_t result = read(stream->file, bytes + before, capacity - before);
    if (result < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : CL_ERROR_PORT;
    }
    uint32_t count = before + (uint32_t)result;
    stream->has_half = count % 2;
    stream->half = count > 0 ? bytes[count - 1] : 0;
    return (int32_t)count;
}

static int32_t drop(struct stream *stream)
{
    uint8_t bytes[4096];
    int32_t count = 2;
    for (uint32_t i = 0; i < DROPS_MAX && count > 1; ++i) {
        count = read_pipe(stream, bytes, sizeof bytes);
    }
    return count < 0 ? count : CL_OK;
}

static int32_t start(void *context)
{
    struct stream *stream = context;
    stream->listens = 1;
    if (stream->is_pipe) {
        return drop(stream);
    }
    stream->position = end_of(stream);
    return stream->position < 0 ? CL_ERROR_PORT : CL_OK;
}

static int32_t read_samples(void *context, int16_t *samples, uint32_t count)
{
    struct stream *stream = context;
    uint8_t bytes[2 * READ_SAMPLES];
    count = count < READ_SAMPLES ? count : READ_SAMPLES;
    ssize_t result = stream->is_pipe ? read_pipe(stream, bytes, 2 * count)
                                     : pread(stream->file, bytes, 2 * count, stream->position);
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
    struct stream *stream = context;
    stream->listens = 0;
}

static const struct cl_microphone microphone = {&the_stream, start, read_samples, stop};

// A pipe has a writer for as long as the board lives: it is never at its end.
static int open_stream(struct stream *stream, const char *path)
{
    struct stat status;
    stream->file = open(path, O_RDONLY | O_NONBLOCK);
    if (stream->file < 0 || fstat(stream->file, &status) < 0) {
        return -1;
    }
    stream->is_pipe = S_ISFIFO(status.st_mode);
    return stream->is_pipe ? open(path, O_WRONLY | O_NONBLOCK) : 0;
}

const struct cl_microphone *microphone_open(const char *path)
{
    if (open_stream(&the_stream, path) < 0) {
        fprintf(stderr, "error: the live microphone's file %s cannot be read: %s\n", path,
                strerror(errno));
        return 0;
    }
    return &microphone;
}

int microphone_unheard(void)
{
    return the_stream.is_pipe && !the_stream.listens ? the_stream.file : -1;
}

int32_t microphone_drop(void)
{
    return drop(&the_stream);
}
