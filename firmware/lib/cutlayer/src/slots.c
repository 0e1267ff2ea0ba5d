#include "cutlayer/slots.h"

#include "bytes.h"
#include "cutlayer/frame.h"

#define PIECE_BYTES 64u // read at a time, on the stack

static uint32_t round_up(uint32_t bytes, uint32_t unit)
{
    return (bytes + unit - 1u) / unit * unit;
}

static uint32_t block_bytes(const struct cl_storage *storage)
{
    return storage->block_bytes ? storage->block_bytes : CL_STORAGE_WORD_BYTES;
}

static uint32_t start_of(const struct cl_slots *slots, uint8_t slot)
{
    return slots->offset + slot * slots->slot_bytes;
}

static int32_t read(const struct cl_slots *slots, uint8_t slot, uint32_t offset, void *data,
                    uint32_t count)
{
    const struct cl_storage *storage = slots->storage;
    return storage->read(storage->context, start_of(slots, slot) + offset, data, count);
}

static int32_t write(const struct cl_slots *slots, uint32_t offset, const void *data,
                     uint32_t count)
{
    const struct cl_storage *storage = slots->storage;
    return storage->write(storage->context, start_of(slots, slots->target) + offset, data, count);
}

static uint32_t header_crc(const uint8_t *header)
{
    return cl_crc32(0, header, CL_SLOTS_HEADER_BYTES - 4u);
}

int32_t cl_slots_check(const struct cl_slots *slots, uint8_t slot)
{
    const struct cl_slot *record = &slots->slots[slot];
    uint8_t piece[PIECE_BYTES];
    uint32_t crc = 0;
    for (uint32_t at = 0; at < record->body_bytes; at += PIECE_BYTES) {
        uint32_t left = record->body_bytes - at;
        uint32_t count = left < PIECE_BYTES ? left : PIECE_BYTES;
        int32_t result = read(slots, slot, CL_SLOTS_HEADER_BYTES + at, piece, count);
        if (result < 0) {
            return result;
        }
        crc = cl_crc32(crc, piece, count);
    }
    return crc == record->body_crc ? CL_OK : CL_ERROR_STORAGE;
}

// Fills in what the slot holds, when it is whole.
static void look_at(struct cl_slots *slots, uint8_t slot)
{
    struct cl_slot *record = &slots->slots[slot];
    uint8_t header[CL_SLOTS_HEADER_BYTES];
    if (read(slots, slot, 0, header, CL_SLOTS_HEADER_BYTES) < 0 ||
        cl_get_u32(header) != (uint32_t)slots->kind ||
        cl_get_u32(header + 20) != header_crc(header)) {
        return;
    }
    record->sequence = cl_get_u32(header + 4);
    record->body_bytes = cl_get_u32(header + 8);
    record->body_crc = cl_get_u32(header + 12);
    record->is_good = record->body_bytes <= slots->slot_bytes - CL_SLOTS_HEADER_BYTES &&
                      cl_slots_check(slots, slot) == 0;
}

// Whether `a` was written after `b`; sequences wrap.
static int is_after(uint32_t a, uint32_t b)
{
    return a - b - 1u < 0x7FFFFFFFu;
}

int32_t cl_slots_open(struct cl_slots *slots, const struct cl_storage *storage,
                      enum cl_slots_kind kind)
{
    const uint32_t block = block_bytes(storage);
    const uint32_t key_bytes = round_up(CL_SLOTS_KEY_BYTES, block);
    memset(slots, 0, sizeof *slots);
    slots->storage = storage;
    slots->kind = kind;
    if (storage->bytes < 2 * key_bytes) {
        return CL_ERROR_STORAGE;
    }
    slots->slot_bytes = key_bytes;
    if (kind == CL_SLOTS_TRAIN) {
        slots->offset = 2 * key_bytes;
        slots->slot_bytes = (storage->bytes - slots->offset) / 2 / block * block;
    }
    if (slots->slot_bytes < CL_SLOTS_HEADER_BYTES) {
        return CL_ERROR_STORAGE;
    }
    look_at(slots, 0);
    look_at(slots, 1);
    const int32_t newest = cl_slots_newest(slots);
    slots->sequence = newest < 0 ? 0 : slots->slots[newest].sequence;
    return CL_OK;
}

int32_t cl_slots_newest(const struct cl_slots *slots)
{
    const struct cl_slot *both = slots->slots;
    if (both[0].is_good && both[1].is_good) {
        return is_after(both[1].sequence, both[0].sequence);
    }
    return both[0].is_good ? 0 : both[1].is_good ? 1 : CL_ERROR_STORAGE;
}

void cl_slots_reject(struct cl_slots *slots, uint8_t slot)
{
    slots->slots[slot].is_good = 0;
}

int32_t cl_slots_read(const struct cl_slots *slots, uint8_t slot, uint32_t offset, void *data,
                      uint32_t count)
{
    const struct cl_slot *record = &slots->slots[slot];
    if (!record->is_good || offset > record->body_bytes || count > record->body_bytes - offset) {
        return CL_ERROR_STORAGE;
    }
    return read(slots, slot, CL_SLOTS_HEADER_BYTES + offset, data, count);
}

int32_t cl_slots_begin(struct cl_slots *slots, int32_t kept, uint32_t body_bytes)
{
    if (slots->slot_bytes < CL_SLOTS_HEADER_BYTES ||
        body_bytes > slots->slot_bytes - CL_SLOTS_HEADER_BYTES) {
        return CL_ERROR_STORAGE;
    }
    if (kept < 0 || !slots->slots[kept].is_good) {
        kept = cl_slots_newest(slots);
    }
    slots->target = kept == 0;
    slots->slots[slots->target].is_good = 0;
    slots->erased = 0;
    slots->written = 0;
    slots->next = (struct cl_slot){1, slots->sequence + 1u, body_bytes, 0};
    return CL_OK;
}

int32_t cl_slots_erase(struct cl_slots *slots)
{
    const struct cl_storage *storage = slots->storage;
    int32_t result;
    if (!storage->erase) {
        // So that no body that is half new has the header of the old one.
        uint8_t erased[CL_SLOTS_HEADER_BYTES];
        memset(erased, (int)CL_STORAGE_ERASED, sizeof erased);
        result = write(slots, 0, erased, sizeof erased);
        return result < 0 ? result : 1;
    }
    const uint32_t block = block_bytes(storage);
    result =
        storage->erase(storage->context, start_of(slots, slots->target) + slots->erased, block);
    if (result < 0) {
        return result;
    }
    slots->erased += block;
    return slots->erased >= CL_SLOTS_HEADER_BYTES + slots->next.body_bytes;
}

int32_t cl_slots_write(struct cl_slots *slots, uint8_t *data, uint32_t count)
{
    const uint32_t padded = round_up(count, CL_STORAGE_WORD_BYTES);
    if (count > slots->next.body_bytes - slots->written ||
        slots->written % CL_STORAGE_WORD_BYTES != 0) {
        return CL_ERROR_ARGUMENT;
    }
    memset(data + count, (int)CL_STORAGE_ERASED, (size_t)(padded - count));
    const int32_t result = write(slots, CL_SLOTS_HEADER_BYTES + slots->written, data, padded);
    if (result < 0) {
        return result;
    }
    slots->next.body_crc = cl_crc32(slots->next.body_crc, data, count);
    slots->written += count;
    return CL_OK;
}

int32_t cl_slots_commit(struct cl_slots *slots)
{
    uint8_t header[CL_SLOTS_HEADER_BYTES] = {0};
    if (slots->written != slots->next.body_bytes) {
        return CL_ERROR_ARGUMENT;
    }
    cl_put_u32(header, (uint32_t)slots->kind);
    cl_put_u32(header + 4, slots->next.sequence);
    cl_put_u32(header + 8, slots->next.body_bytes);
    cl_put_u32(header + 12, slots->next.body_crc);
    cl_put_u32(header + 20, header_crc(header));
    const int32_t result = write(slots, 0, header, sizeof header);
    if (result < 0) {
        return result;
    }
    slots->slots[slots->target] = slots->next;
    slots->sequence = slots->next.sequence;
    return slots->target;
}
