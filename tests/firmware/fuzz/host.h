// The host that drives a fuzzed node: its messages are mostly right, and go through a line that
// mangles. Random bytes alone would never get past the CRC-32.
#ifndef CUTLAYER_FUZZ_HOST_H
#define CUTLAYER_FUZZ_HOST_H

#include "fuzz.h"

struct line {
    uint8_t data[8192];
    uint32_t count;
    uint32_t damage; // one byte in this many; 0 for none
    uint64_t carried;
};

#define HOST_PAYLOAD 1024u

struct message {
    uint8_t bytes[HOST_PAYLOAD];
    uint32_t count;
};

struct host {
    struct cl_link link;
    struct message queue[64]; // by token
    uint32_t queued;
    uint32_t welcomes;
    uint32_t smashed; // ACTIVATIONs seen
    uint32_t applied;
    uint32_t refused;
    uint32_t errs;                    // 1 when messages may be damaged
    const struct cl_session *session; // the board's: what to say to get further
    void *memory;
};

void line_put(struct line *line, const uint8_t *data, uint32_t count);
uint32_t line_take(struct line *line, uint8_t *data, uint32_t capacity);

void host_init(struct host *host, const struct cl_session *session);

// Says something that gets the session further, mostly.
void host_speak(struct host *host);
void host_write(struct host *host, struct line *line, uint32_t now_ms);
void host_read(struct host *host, struct line *line, uint32_t now_ms);

#endif
