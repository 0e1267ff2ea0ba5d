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

// As cl_port.random, without the context. The Arduino core has no source of random bytes for keys
// (analogRead and random() are none): a firmware gets one by a file of its own that defines this
// function with the chip's generator, for example esp_fill_random. Without it nothing is sealed.
extern "C" int32_t cutlayer_random(uint8_t *data, uint32_t count) __attribute__((weak));

// A line for a person, never on the link.
void machine_log(void *context, const char *line);

#endif
