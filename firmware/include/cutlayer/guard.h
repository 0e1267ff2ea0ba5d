// What seals a link's connections (SPEC.md, section 2.6): the link calls it, and knows no
// cryptography. A link without a guard is plain. firmware/lib/guard has one.
#ifndef CUTLAYER_GUARD_H
#define CUTLAYER_GUARD_H

#include "cutlayer/error.h"

// What a seal adds to a frame: a counter in front of the payload, a tag behind it.
#define CL_GUARD_COUNTER_BYTES 4u
#define CL_GUARD_TAG_BYTES 16u
#define CL_GUARD_FRAME_BYTES (CL_GUARD_COUNTER_BYTES + CL_GUARD_TAG_BYTES)

#define CL_GUARD_KEY_BYTES 32u
#define CL_GUARD_DEVICE_ID_BYTES 8u
#define CL_GUARD_NONCE_BYTES 24u
#define CL_GUARD_PROOF_BYTES 16u

// Payloads of SYN and SYN_ACK: 8 bytes of parameters, of which byte 1 is a cl_security, and what
// follows them in a sealed handshake.
#define CL_GUARD_PARAMETERS_BYTES 8u
#define CL_GUARD_SYN_BYTES (CL_GUARD_PARAMETERS_BYTES + CL_GUARD_NONCE_BYTES)
#define CL_GUARD_SYN_ACK_BYTES                                                                     \
    (CL_GUARD_SYN_BYTES + CL_GUARD_DEVICE_ID_BYTES + CL_GUARD_PROOF_BYTES)

enum cl_security { CL_SECURITY_PLAIN = 0, CL_SECURITY_SEALED = 1 };

struct cl_guard {
    // Handed to every function below.
    void *context;

    // Takes the payload of a SYN (a board) or of a SYN_ACK (a host): `parameters`, valid, and what
    // follows them, `bytes` in all. Returns 0 when the connection may open at once: at a host when
    // the proof is good, at a board when neither side wants a seal. Else CL_ERROR_KEY: a board only
    // keeps what it needs for an answer.
    int32_t (*meet)(void *context, uint16_t connection, const uint8_t *parameters, uint32_t bytes);

    // Completes the payload of a SYN (a host) or of a SYN_ACK (a board) whose `parameters` are
    // written: sets their security and appends the handshake, at most CL_GUARD_SYN_ACK_BYTES in
    // all. Returns its bytes.
    uint32_t (*introduce)(void *context, uint16_t connection, uint8_t *parameters);

    // Seals a body of `bytes` in place; CL_GUARD_FRAME_BYTES more are free behind it. Returns the
    // sealed body's bytes, or CL_ERROR_KEY when the counter has reached its end.
    int32_t (*seal)(void *context, uint8_t *body, uint32_t bytes);

    // Opens a sealed body in place. Returns the bytes of the body without seal, or CL_ERROR_KEY:
    // sealed by nobody who may, for another connection, or seen before. At a board, the first frame
    // of a new connection sets `parameters` to those of its host; the one before is forgotten then.
    int32_t (*open)(void *context, uint8_t *body, uint32_t bytes, const uint8_t **parameters);
};

#endif
