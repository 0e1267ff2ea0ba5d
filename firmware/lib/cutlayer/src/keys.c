#include "cutlayer/keys.h"

#include "bytes.h"

#define RECORD_BYTES (CL_DEVICE_ID_BYTES + CL_KEY_BYTES)

static const uint8_t no_device[CL_DEVICE_ID_BYTES];

// `record` is device_id and key, or null for none.
static void use(struct cl_keys *keys, const uint8_t *record)
{
    keys->has_key = record != 0;
    memcpy(keys->device_id, record ? record : no_device, CL_DEVICE_ID_BYTES);
    keys->config.set_key(keys->config.context, record, record ? record + CL_DEVICE_ID_BYTES : 0);
}

// All of a record at once: one block, and few bytes.
static int32_t write_record(struct cl_slots *slots, uint8_t *record)
{
    int32_t result = cl_slots_begin(slots, -1, RECORD_BYTES);
    while (result == 0) {
        result = cl_slots_erase(slots);
    }
    if (result > 0) {
        result = cl_slots_write(slots, record, RECORD_BYTES);
    }
    if (result == 0) {
        result = cl_slots_commit(slots);
    }
    return result < 0 ? CL_ERROR_STORAGE : CL_OK;
}

static int32_t take(struct cl_keys *keys, const struct cl_message *message)
{
    const struct cl_provision *provision = &message->as.provision;
    const int is_provision = message->kind == CL_PROVISION;
    uint8_t record[RECORD_BYTES] = {0};
    if (is_provision) {
        memcpy(record, provision->device_id, CL_DEVICE_ID_BYTES);
        memcpy(record + CL_DEVICE_ID_BYTES, provision->key, CL_KEY_BYTES);
        if (memcmp(record, no_device, CL_DEVICE_ID_BYTES) == 0) {
            return CL_ERROR_VALUE;
        }
    }
    int32_t result = write_record(&keys->slots, record);
    if (result < 0) {
        return result;
    }
    use(keys, is_provision ? record : 0);
    keys->is_new = 1;
    // The key before lies in the other slot: frames recorded long ago could be opened with it.
    // Where it cannot be overwritten, the newer record counts all the same.
    result = write_record(&keys->slots, record);
    (void)result;
    return CL_OK;
}

int32_t cl_keys_open(struct cl_keys *keys, const struct cl_keys_config *config)
{
    uint8_t record[RECORD_BYTES];
    memset(keys, 0, sizeof *keys);
    keys->take = take;
    keys->config = *config;
    if (cl_slots_open(&keys->slots, config->storage, CL_SLOTS_KEY) < 0) {
        return CL_ERROR_STORAGE;
    }
    const int32_t slot = cl_slots_newest(&keys->slots);
    const int is_there = slot >= 0 && keys->slots.slots[slot].body_bytes == RECORD_BYTES;
    if (is_there && cl_slots_read(&keys->slots, (uint8_t)slot, 0, record, RECORD_BYTES) < 0) {
        return CL_ERROR_STORAGE;
    }
    const int has_key = is_there && memcmp(record, no_device, CL_DEVICE_ID_BYTES) != 0;
    use(keys, has_key ? record : 0);
    return has_key;
}
