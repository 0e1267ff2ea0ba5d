// Records in two slots of a storage, written in turn, so that a power cut at any byte of any write
// or erase leaves the newest whole record as it was (SPEC.md, section 4).
//
// A slot is a header and a body. The header says how long the body is and what CRC-32 it has, and
// is written last: a slot whose header and body fit each other was written whole.
#ifndef CUTLAYER_SLOTS_H
#define CUTLAYER_SLOTS_H

#include "cutlayer/storage.h"

#define CL_SLOTS_HEADER_BYTES 24u

// What a pair of slots is for; the first word of each of its records ("CLK1", "CLT1").
enum cl_slots_kind { CL_SLOTS_KEY = 0x314B4C43, CL_SLOTS_TRAIN = 0x31544C43 };

// The least bytes of a slot for keys.
#define CL_SLOTS_KEY_BYTES 128u

struct cl_slot {
    uint8_t is_good;
    uint32_t sequence;
    uint32_t body_bytes;
    uint32_t body_crc;
};

struct cl_slots {
    const struct cl_storage *storage;
    enum cl_slots_kind kind;
    uint32_t offset;     // of the first slot
    uint32_t slot_bytes; // of each
    struct cl_slot slots[2];
    uint32_t sequence; // of the newest record ever seen here; counts the writes

    // The record being written.
    uint8_t target;
    uint32_t erased;  // bytes of the slot; block by block
    uint32_t written; // bytes of the body
    struct cl_slot next;
};

// Looks at both slots. Returns 0, or CL_ERROR_STORAGE when the storage has no room for them.
int32_t cl_slots_open(struct cl_slots *slots, const struct cl_storage *storage,
                      enum cl_slots_kind kind) CL_CHECK_RESULT;

// The slot of the newest good record, or negative when there is none.
int32_t cl_slots_newest(const struct cl_slots *slots);

// Says that a good record is of no use here: it is the next to be overwritten.
void cl_slots_reject(struct cl_slots *slots, uint8_t slot);

// Reads `count` bytes of a good record's body. Returns 0, CL_ERROR_STORAGE when it has not as many,
// or the storage's error.
int32_t cl_slots_read(const struct cl_slots *slots, uint8_t slot, uint32_t offset, void *data,
                      uint32_t count) CL_CHECK_RESULT;

// Whether the body still has its CRC-32. Returns 0, CL_ERROR_STORAGE, or the storage's error.
int32_t cl_slots_check(const struct cl_slots *slots, uint8_t slot) CL_CHECK_RESULT;

// Writing: begin, then erase until it returns 1, then write the body in pieces, then commit. Begun
// again, or left, nothing is lost but the record under way.

// Begins a record of `body_bytes` in the slot that is not `kept`; when that one is negative or
// holds nothing good, the newest good one is kept. Returns 0, or CL_ERROR_STORAGE when it does not
// fit.
int32_t cl_slots_begin(struct cl_slots *slots, int32_t kept, uint32_t body_bytes) CL_CHECK_RESULT;

// Erases one block. Returns 1 when all that the record needs is erased, 0 when there is more to do,
// or the storage's error.
int32_t cl_slots_erase(struct cl_slots *slots) CL_CHECK_RESULT;

// Writes the next bytes of the body: whole words, but for the last ones. `data` has room to fill up
// a word. Returns 0, CL_ERROR_ARGUMENT (beyond `body_bytes`), or the storage's error.
int32_t cl_slots_write(struct cl_slots *slots, uint8_t *data, uint32_t count) CL_CHECK_RESULT;

// Writes the header. Returns the slot, now the newest; CL_ERROR_ARGUMENT when the body is not
// complete; or the storage's error.
int32_t cl_slots_commit(struct cl_slots *slots) CL_CHECK_RESULT;

#endif
