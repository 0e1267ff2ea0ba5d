// What board.cpp asks of the files beside it. The board's .ini picks one file of each: link_*,
// microphone_*, recordings_*, machine_*.
#ifndef PARTS_H
#define PARTS_H

#include <Arduino.h>

extern "C" {
#include "board.h"
}

// Opens the link: fills `read`, `write`, `context` and `receive_bytes`. Returns 0 or negative.
int32_t link_open(struct cl_port *port) CL_CHECK_RESULT;

// Returns true when bytes of the host wait.
bool link_waits();

// What lies on the board; `bytes` stays 0 without any.
void recordings_open(struct cl_recordings *recordings);

// The board's microphone, or null.
const struct cl_microphone *microphone_open();

// Lets the machine rest until an interrupt, or for a ms: the caller asks again.
void machine_rest();

// The most stack used so far in bytes; null where it is not known.
extern uint32_t (*const machine_stack_bytes)(void *context);

// A line for a person, never on the link.
void machine_log(void *context, const char *line);

#endif
