// A link's guard on Monocypher (SPEC.md, section 2.6): BLAKE2b makes a connection's keys and the
// board's proof from the device's key and two nonces, XChaCha20-Poly1305 seals its frames.
#ifndef GUARD_MONOCYPHER_H
#define GUARD_MONOCYPHER_H

#include "cutlayer/guard.h"
#include "cutlayer/link.h"

// "cutlayer", connection, both sides' parameters and nonces, device id; before them a byte that
// says what is made of it.
#define GUARD_TRANSCRIPT_BYTES (1u + 8u + 2u + 2u * CL_GUARD_SYN_BYTES + CL_GUARD_DEVICE_ID_BYTES)

struct guard_config {
    enum cl_link_role role;

    // Fills `count` bytes that nobody can foretell. Returns 0, or negative: then no sealed
    // connection comes to be.
    int32_t (*random)(void *context, uint8_t *data, uint32_t count);
    void *context;
};

// A key of a connection's direction, and what was sealed with it.
struct guard_way {
    uint8_t key[CL_GUARD_KEY_BYTES];
    uint32_t counter; // sender: of the next frame. Receiver: one more than the highest opened
    uint64_t opened;  // receiver: bit i says that frame `counter` - 1 - i was opened
};

struct guard_connection {
    uint8_t valid;
    uint16_t number;
    uint8_t parameters[CL_GUARD_PARAMETERS_BYTES]; // of the host
    struct guard_way sending;
    struct guard_way receiving;
};

struct guard_monocypher {
    struct guard_config config;
    uint8_t has_key;
    uint8_t device_id[CL_GUARD_DEVICE_ID_BYTES];
    uint8_t key[CL_GUARD_KEY_BYTES];

    struct guard_connection present;
    struct guard_connection pending; // board: answered, and nothing opened yet
    uint8_t greeted;                 // 1 when the transcript holds the host's part
    uint8_t answered;                // board: 1 when it holds this side's part too
    uint8_t transcript[GUARD_TRANSCRIPT_BYTES];

    uint32_t frames_refused; // that did not open
    uint32_t frames_again;   // of them: opened before, or too old to tell
};

// Prepares a guard without a key: all its connections are plain. Returns 0, or CL_ERROR_ARGUMENT
// without a source of random bytes.
int32_t guard_monocypher_init(struct guard_monocypher *guard,
                              const struct guard_config *config) CL_CHECK_RESULT;

// Gives the device's id and key, or takes them away (null). Connections that are open stay as they
// are; a host has them of the device that it connects to next.
void guard_monocypher_set_key(struct guard_monocypher *guard, const uint8_t *device_id,
                              const uint8_t *key);

// What a link takes; `guard` has to outlive it.
struct cl_guard guard_monocypher(struct guard_monocypher *guard);

#endif
