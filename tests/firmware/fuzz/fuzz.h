// Throws bytes at the decoders, the link and a whole node. Built with ASan and UBSan, it ends with
// 0 unless something breaks: fuzz TARGET BYTES SEED, targets frame, link, node.
#ifndef CUTLAYER_FUZZ_H
#define CUTLAYER_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cutlayer/node.h"

// Seeded, the same on every machine.
uint32_t random_u32(void);
uint32_t random_below(uint32_t bound);

// Ends the program when `holds` is 0.
void check(int holds, const char *what);

// Each works until `bytes` have gone in.
void fuzz_frame(uint64_t bytes);
void fuzz_link(uint64_t bytes);
void fuzz_node(uint64_t bytes);

#endif
