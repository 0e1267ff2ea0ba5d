#include "medium.h"

static int32_t medium_read(void *context, uint32_t offset, void *data, uint32_t count)
{
    const struct medium *medium = context;
    check(offset <= medium->bytes && count <= medium->bytes - offset, "reads stay inside");
    memcpy(data, medium->data + offset, count);
    return 0;
}

static int32_t put(struct medium *medium, uint32_t offset, const void *data, uint32_t count)
{
    check(offset <= medium->bytes && count <= medium->bytes - offset, "writes stay inside");
    uint32_t done = count < medium->budget ? count : medium->budget;
    memcpy(medium->data + offset, data, done);
    medium->budget -= done;
    if (done < count) {
        medium->data[offset + done] = (uint8_t)noise_u32();
        return MEDIUM_NO_POWER;
    }
    return 0;
}

static int32_t medium_write(void *context, uint32_t offset, const void *data, uint32_t count)
{
    struct medium *medium = context;
    check(offset % CL_STORAGE_WORD_BYTES == 0 && count % CL_STORAGE_WORD_BYTES == 0,
          "words are written");
    for (uint32_t i = 0; medium->erasable && i < count; i++) {
        check(medium->data[offset + i] == CL_STORAGE_ERASED, "what is written was erased");
    }
    return put(medium, offset, data, count);
}

static int32_t medium_erase(void *context, uint32_t offset, uint32_t count)
{
    struct medium *medium = context;
    uint8_t erased[512];
    check(count <= sizeof erased && offset % medium->block_bytes == 0 &&
              count % medium->block_bytes == 0,
          "blocks are erased");
    memset(erased, CL_STORAGE_ERASED, sizeof erased);
    return put(medium, offset, erased, count);
}

void medium_init(struct medium *medium, uint32_t bytes)
{
    static const uint32_t blocks[] = {0, 64, 128, 512};
    medium->bytes = bytes;
    medium->budget = UINT32_MAX;
    medium->block_bytes = blocks[chosen_below(4)];
    medium->erasable = medium->block_bytes > 0;
    medium->data = block_of(MEDIUM_BYTES_MAX);
    memset(medium->data, CL_STORAGE_ERASED, MEDIUM_BYTES_MAX);
}

struct cl_storage medium_storage(struct medium *medium)
{
    return (struct cl_storage){medium,        medium_read,
                               medium_write,  medium->erasable ? medium_erase : 0,
                               medium->bytes, medium->block_bytes};
}
