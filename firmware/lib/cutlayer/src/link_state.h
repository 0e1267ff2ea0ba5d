// What the link*.c files share: the header of a body, and the end of a connection.
#ifndef CUTLAYER_LINK_STATE_H
#define CUTLAYER_LINK_STATE_H

#include "bytes.h"
#include "cutlayer/link.h"

enum cl_frame_kind {
    CL_FRAME_SYN = 1,
    CL_FRAME_SYN_ACK = 2,
    CL_FRAME_DATA = 3,
    CL_FRAME_ACK = 4,
    CL_FRAME_RESET = 5,
    CL_FRAME_PING = 6,
};

#define CL_LINK_PARAMETERS_BYTES 8u
#define CL_LINK_SYN_MS 500u

struct cl_frame_header {
    uint8_t kind;
    uint16_t connection;
    uint16_t seq;
    uint16_t ack;
    uint16_t sack;
    uint16_t credit;
};

// Ends the connection, if there is one, and tells so.
void cl_link_lose(struct cl_link *link);

// Bytes that the other side may send now: all or nothing, because every message held takes a whole
// buffer.
uint16_t cl_link_credit(const struct cl_link *link);

#endif
