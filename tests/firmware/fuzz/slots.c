#include "cutlayer/slots.h"
#include "medium.h"

// A storage of any bytes; then records written through power cuts, beside a plain memory of what
// was committed.

#define BYTES_MAX MEDIUM_BYTES_MAX

// Returns the slot, or negative when the power went.
static int32_t write_record(struct cl_slots *slots, int32_t kept, const uint8_t *body,
                            uint32_t count)
{
    int32_t result = cl_slots_begin(slots, kept, count);
    while (result == 0) {
        result = cl_slots_erase(slots);
    }
    for (uint32_t at = 0; result >= 0 && at < count;) {
        uint8_t piece[64];
        uint32_t left = count - at, part = 8 * (1 + chosen_below(8));
        part = part < left ? part : left;
        memcpy(piece, body + at, part);
        result = cl_slots_write(slots, piece, part);
        at += part;
    }
    return result < 0 ? result : cl_slots_commit(slots);
}

struct record {
    uint8_t body[BYTES_MAX];
    uint32_t bytes;
};

static int holds(const struct cl_slots *slots, uint8_t slot, const struct record *record)
{
    uint8_t read[BYTES_MAX];
    return slots->slots[slot].is_good && slots->slots[slot].body_bytes == record->bytes &&
           cl_slots_read(slots, slot, 0, read, record->bytes) == 0 &&
           memcmp(read, record->body, record->bytes) == 0;
}

static void look(struct cl_slots *slots)
{
    uint8_t read[BYTES_MAX];
    int32_t slot = cl_slots_newest(slots);
    if (slot >= 0) {
        uint32_t offset = chosen_below(0x10000), count = chosen_below(sizeof read);
        if (cl_slots_read(slots, (uint8_t)slot, offset, read, count) == 0) {
            check(offset + count <= slots->slots[slot].body_bytes, "reads stay in the body");
        }
        check(cl_slots_check(slots, (uint8_t)slot) == 0, "a good record is good");
        reached(REACH_RECORDS, 1);
    }
}

// Writes one record, perhaps through a power cut. `held` is what the slots held before; only the
// target may change.
static void write_once(struct cl_slots *slots, struct medium *medium, struct record held[2])
{
    const struct cl_storage *storage = slots->storage;
    uint32_t room = slots->slot_bytes - CL_SLOTS_HEADER_BYTES;
    struct record record = {.bytes = chosen_below(room + 1)};
    for (uint32_t i = 0; i < record.bytes; i++) {
        record.body[i] = (uint8_t)noise_u32();
    }
    int32_t kept = (int32_t)chosen_below(4) - 2;
    int was_good[2] = {slots->slots[0].is_good, slots->slots[1].is_good};
    medium->budget = chosen_below(3) ? UINT32_MAX : chosen_below(2 * BYTES_MAX);
    int32_t written = write_record(slots, kept < 0 ? -1 : kept, record.body, record.bytes);
    medium->budget = UINT32_MAX;
    uint8_t target = slots->target, other = !target;
    if (written < 0 || chosen_below(2)) {
        check(cl_slots_open(slots, storage, slots->kind) == 0, "a storage opens again");
    }
    check(kept < 0 || !was_good[kept] || other == kept, "the slot to be kept is");
    check(!was_good[other] || holds(slots, other, &held[other]), "the other slot is as it was");
    if (written >= 0) {
        check(written == target && cl_slots_newest(slots) == target, "what was written is newest");
        check(holds(slots, target, &record), "what was written is there");
    }
    // The byte that a cut leaves to chance may have been the last and the right one.
    if (holds(slots, target, &record)) {
        held[target] = record;
    } else {
        check(!slots->slots[target].is_good || holds(slots, target, &held[target]),
              "a slot is whole or not good");
    }
    reached(REACH_RECORDS, slots->slots[target].is_good);
}

void fuzz_slots(const uint8_t *data, size_t size)
{
    enum cl_slots_kind kind = chosen_below(2) ? CL_SLOTS_KEY : CL_SLOTS_TRAIN;
    struct medium medium;
    medium_init(&medium, chosen_below(BYTES_MAX + 1));
    struct cl_storage storage = medium_storage(&medium);
    struct cl_slots slots;
    uint32_t any = chosen_below(2) && size <= medium.bytes ? (uint32_t)size : 0;
    memcpy(medium.data + chosen_below(medium.bytes - any + 1), data, any);
    if (chosen_below(2)) {
        // A header that is right, over a body that is anything.
        uint8_t *header = medium.data;
        uint32_t crc;
        memcpy(header, &kind, 4);
        crc = cl_crc32(0, header, CL_SLOTS_HEADER_BYTES - 4u);
        memcpy(header + CL_SLOTS_HEADER_BYTES - 4u, &crc, 4);
    }
    int32_t opened = cl_slots_open(&slots, &storage, kind);
    check(opened == 0 || opened == CL_ERROR_STORAGE, "a storage opens or is too small");
    if (opened == 0) {
        look(&slots);
        struct record held[2];
        for (uint8_t slot = 0; slot < 2; slot++) {
            held[slot].bytes = slots.slots[slot].body_bytes;
            check(!slots.slots[slot].is_good ||
                      cl_slots_read(&slots, slot, 0, held[slot].body, held[slot].bytes) == 0,
                  "a good record is read");
        }
        while (choices_left()) {
            write_once(&slots, &medium, held);
        }
    }
    free(medium.data);
}
