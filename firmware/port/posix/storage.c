// A file as the board's storage. A board loses its power when its process is killed: what was
// written before is in the file. A power cut of this computer is not meant.
#define _GNU_SOURCE // flock
#include "storage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define STORAGE_BYTES (1024u * 1024u)

static int descriptor = -1;

static int32_t storage_read(void *context, uint32_t offset, void *data, uint32_t count)
{
    const int *file = context;
    uint8_t *bytes = data;
    while (count > 0) {
        ssize_t result = pread(*file, bytes, count, (off_t)offset);
        if (result < 0) {
            return CL_ERROR_PORT;
        }
        if (result == 0) {
            memset(bytes, (int)CL_STORAGE_ERASED, count);
            return CL_OK;
        }
        bytes += result;
        offset += (uint32_t)result;
        count -= (uint32_t)result;
    }
    return CL_OK;
}

static int32_t storage_write(void *context, uint32_t offset, const void *data, uint32_t count)
{
    const int *file = context;
    const uint8_t *bytes = data;
    while (count > 0) {
        ssize_t result = pwrite(*file, bytes, count, (off_t)offset);
        if (result <= 0) {
            return CL_ERROR_PORT;
        }
        bytes += result;
        offset += (uint32_t)result;
        count -= (uint32_t)result;
    }
    return CL_OK;
}

const struct cl_storage *storage_open(const char *path)
{
    static const struct cl_storage storage = {
        .context = &descriptor,
        .read = storage_read,
        .write = storage_write,
        .bytes = STORAGE_BYTES,
    };
    descriptor = open(path, O_RDWR | O_CREAT, S_IRUSR | S_IWUSR);
    if (descriptor < 0) {
        fprintf(stderr, "error: the storage %s cannot be opened\n", path);
        return 0;
    }
    if (flock(descriptor, LOCK_EX | LOCK_NB) < 0) {
        fprintf(stderr, "error: another board runs with the storage %s\n", path);
        return 0;
    }
    return &storage;
}
