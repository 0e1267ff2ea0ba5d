// Targets of libFuzzer: each takes one input of any bytes and ends the program when something
// breaks. Built with ASan and UBSan; CUTLAYER_FUZZ_TARGET in the environment names the target.
//
// Random bytes alone would never get past a CRC-32, and seldom past a state. So most targets take
// their input as a list of choices, and do something sensible with whatever is chosen.
#ifndef CUTLAYER_FUZZ_H
#define CUTLAYER_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cutlayer/node.h"

// The next choice, 0 to `bound` - 1: a byte of the input, or two or four when `bound` needs them.
// When the input is used up, noise.
uint32_t chosen_below(uint32_t bound);
uint32_t chosen_u32(void);
int choices_left(void);

// What does not matter much, but differs from input to input: takes nothing of it.
uint32_t noise_u32(void);

// A block of exactly so many bytes, aligned to 16, so that ASan sees what lies beyond.
void *block_of(uint32_t bytes);

// Ends the program when `holds` is 0.
void check(int holds, const char *what);

// How deep the inputs of this run have got; printed at its end as a line of JSON.
enum reach {
    REACH_FRAMES,
    REACH_MESSAGES,
    REACH_DELIVERED,
    REACH_CODED,
    REACH_SMASHED,
    REACH_ADDED,
    REACH_APPLIED,
    REACH_REFUSED,
    REACH_SAVED,
    REACH_RESTORED,
    REACH_RECORDS,
    REACH_COUNT
};
void reached(enum reach what, uint64_t times);

void fuzz_codec(const uint8_t *data, size_t size);
void fuzz_frame(const uint8_t *data, size_t size);
void fuzz_guard(const uint8_t *data, size_t size);
void fuzz_link(const uint8_t *data, size_t size);
void fuzz_message(const uint8_t *data, size_t size);
void fuzz_node(const uint8_t *data, size_t size);
void fuzz_session(const uint8_t *data, size_t size);
void fuzz_slots(const uint8_t *data, size_t size);
void fuzz_train(const uint8_t *data, size_t size);
void fuzz_window(const uint8_t *data, size_t size);

#endif
