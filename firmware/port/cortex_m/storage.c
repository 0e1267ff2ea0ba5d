// An emulated board's storage, by semihosting: a file on the command line, "storage:PATH". It grows
// as it is written; what was never written reads as erased or as 0.
#include <string.h>

#include "cortex_m/cortex_m.h"
#include "cortex_m/semihosting.h"

#define STORAGE_BYTES (1024u * 1024u)

static int32_t the_file;

static int32_t storage_read(void *context, uint32_t offset, void *data, uint32_t count)
{
    const int32_t *file = context;
    const int32_t there = semihosting_read(*file, offset, data, count);
    if (there < 0) {
        return CL_ERROR_PORT;
    }
    memset((uint8_t *)data + there, (int)CL_STORAGE_ERASED, count - (uint32_t)there);
    return CL_OK;
}

static int32_t storage_write(void *context, uint32_t offset, const void *data, uint32_t count)
{
    const int32_t *file = context;
    return semihosting_put(*file, offset, data, count) == 0 ? CL_OK : CL_ERROR_PORT;
}

int32_t cortex_m_open_storage(const struct cl_storage **opened)
{
    static const struct cl_storage storage = {
        .context = &the_file,
        .read = storage_read,
        .write = storage_write,
        .bytes = STORAGE_BYTES,
    };
    char line[CORTEX_M_LINE_BYTES];
    const char *path = cortex_m_word(line, CORTEX_M_STORAGE);
    *opened = 0;
    if (!path) {
        return CL_OK;
    }
    the_file = semihosting_open_to_write(path);
    if (the_file < 0) {
        return the_file;
    }
    *opened = &storage;
    return CL_OK;
}
