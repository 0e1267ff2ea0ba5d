// What cutlayer needs of a machine. A port fills one of these; zero means "not there" where said
// optional.
#ifndef CUTLAYER_PORT_H
#define CUTLAYER_PORT_H

#include "cutlayer/error.h"

struct cl_port {
    // Handed to every function below.
    void *context;

    // Reads up to `capacity` bytes that have arrived on the link. Never blocks.
    // Returns the bytes read, 0 for none now, negative when the link is lost.
    int32_t (*read)(void *context, uint8_t *data, uint32_t capacity);

    // Writes up to `count` bytes to the link. Never blocks.
    // Returns the bytes taken, 0 for later, negative when the link is lost.
    int32_t (*write)(void *context, const uint8_t *data, uint32_t count);

    // Milliseconds since some start; wraps at 2^32.
    uint32_t (*now_ms)(void *context);

    // Optional: a free-running counter for figures (instructions or cycles); wraps at 2^32.
    uint32_t (*ticks)(void *context);

    // Optional: the most stack used so far in bytes (painted stack).
    uint32_t (*stack_bytes)(void *context);

    // Optional, but nothing is sealed without it: fills `count` bytes that nobody can foretell,
    // from a source made for keys. Returns 0, or negative when there are none.
    int32_t (*random)(void *context, uint8_t *data, uint32_t count);

    // Optional: a line of text for a person, never on the link.
    void (*log)(void *context, const char *line);

    // Bytes that may wait unread between two calls of `read` without loss: the size of the receive
    // ring.
    uint32_t receive_bytes;

    // Shown to the host in WELCOME; at most 16 characters.
    const char *board;
};

#endif
