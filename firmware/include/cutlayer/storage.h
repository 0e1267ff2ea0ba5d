// A board's storage: bytes that stay when the power goes. A port fills one of these.
#ifndef CUTLAYER_STORAGE_H
#define CUTLAYER_STORAGE_H

#include "cutlayer/error.h"

// Writes begin at multiples of this and have multiples of it.
#define CL_STORAGE_WORD_BYTES 8u

// What is never written, or erased.
#define CL_STORAGE_ERASED 0xFFu

struct cl_storage {
    // Handed to every function below. They may block, a write longer than a read.
    void *context;

    // Reads `count` bytes from `offset` on. Returns 0 or negative.
    int32_t (*read)(void *context, uint32_t offset, void *data, uint32_t count);

    // Writes `count` bytes from `offset` on; they are stored when it returns. With `erase` only
    // places that have been erased since they were written. Returns 0 or negative: then some bytes
    // may be written, and the last one may be any.
    int32_t (*write)(void *context, uint32_t offset, const void *data, uint32_t count);

    // Optional, for media that need it: makes whole blocks CL_STORAGE_ERASED. Returns 0 or
    // negative.
    int32_t (*erase)(void *context, uint32_t offset, uint32_t count);

    uint32_t bytes;
    uint32_t block_bytes; // that are erased at once, a multiple of the word; 0: no such limit
};

#endif
