// A board's name and key, in two slots of its storage (SPEC.md, section 4), and who changes them:
// a host, by PROVISION and FORGET.
//
// A session reaches them by `take` alone, so that a firmware without keys has nothing of it.
#ifndef CUTLAYER_KEYS_H
#define CUTLAYER_KEYS_H

#include "cutlayer/message.h"
#include "cutlayer/slots.h"

struct cl_keys_config {
    const struct cl_storage *storage;

    // Gives the link's guard the name and the key, or takes them away (null).
    void (*set_key)(void *context, const uint8_t *device_id, const uint8_t *key);
    void *context;
};

struct cl_keys {
    // Takes PROVISION or FORGET: a power cut at any byte leaves the key as it was, or as it is to
    // be. Returns 0; or CL_ERROR_VALUE (device_id 0) or CL_ERROR_STORAGE, and the key is as it was.
    int32_t (*take)(struct cl_keys *keys, const struct cl_message *message);

    struct cl_keys_config config;
    struct cl_slots slots;
    uint8_t has_key;
    uint8_t is_new; // changed on the present connection, which ends when the answer has arrived
    uint8_t device_id[CL_DEVICE_ID_BYTES]; // 0 without a key
};

// Looks for a key in the storage, and gives it to the guard. Returns 1 when there is one, 0 when
// there is none, or CL_ERROR_STORAGE.
int32_t cl_keys_open(struct cl_keys *keys, const struct cl_keys_config *config) CL_CHECK_RESULT;

#endif
