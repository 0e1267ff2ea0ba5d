// The host that drives a fuzzed node, through a line that mangles.
#ifndef CUTLAYER_FUZZ_HOST_H
#define CUTLAYER_FUZZ_HOST_H

#include "talk.h"

struct line {
    uint8_t data[8192];
    uint32_t count;
    uint32_t damage; // one byte in this many; 0 for none
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
    struct talk talk;
    void *memory;
};

void line_put(struct line *line, const uint8_t *data, uint32_t count);
uint32_t line_take(struct line *line, uint8_t *data, uint32_t capacity);

void host_init(struct host *host, const struct cl_session *session);

void host_write(struct host *host, struct line *line, uint32_t now_ms);
void host_read(struct host *host, struct line *line, uint32_t now_ms);

#endif
