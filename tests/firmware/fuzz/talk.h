// What a host may say to a board: messages that are mostly right, and get the session further.
#ifndef CUTLAYER_FUZZ_TALK_H
#define CUTLAYER_FUZZ_TALK_H

#include "fuzz.h"

struct talk {
    const struct cl_session *session; // the board's: what to say to get further
    uint32_t errs;                    // 1 when messages may be damaged
    void (*say)(void *context, const uint8_t *bytes, uint32_t count);
    void *context;
};

void talk_hello(const struct talk *talk);
void talk_configure(const struct talk *talk);

// Says something that the session's state takes, mostly; a gradient is several messages.
void talk_on(const struct talk *talk);

// Counts how deep a reply shows that the board has got.
void reached_by(uint8_t kind);

#endif
