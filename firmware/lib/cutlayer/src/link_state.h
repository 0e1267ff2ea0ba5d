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

// Places of a body's fields.
enum cl_link_field {
    CL_LINK_KIND = 0,
    CL_LINK_CONNECTION = 2,
    CL_LINK_SEQ = 4,
    CL_LINK_ACK = 6,
    CL_LINK_SACK = 8,
    CL_LINK_CREDIT = 10,
};

// Ends the connection, if there is one, and tells so.
void cl_link_lose(struct cl_link *link);

// Bytes that the other side may send now: all or nothing, because every message held takes a whole
// buffer.
uint16_t cl_link_credit(const struct cl_link *link);

#endif
