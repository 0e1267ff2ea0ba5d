// A board's storage in memory, whose power may go at any byte.
#ifndef CUTLAYER_FUZZ_MEDIUM_H
#define CUTLAYER_FUZZ_MEDIUM_H

#include "cutlayer/storage.h"
#include "fuzz.h"

#define MEDIUM_BYTES_MAX 2048u
#define MEDIUM_NO_POWER (-400)

struct medium {
    uint8_t *data;
    uint32_t bytes;
    uint32_t block_bytes;
    uint32_t budget; // bytes until the power goes
    int erasable;
};

// An erased medium, of a chosen kind; its data is freed by the caller.
void medium_init(struct medium *medium, uint32_t bytes);
struct cl_storage medium_storage(struct medium *medium);

#endif
