// The head of a fuzzed board: an op that copies, and a convolution that is trained. Two cuts.
#ifndef CUTLAYER_FUZZ_SMALL_MODEL_H
#define CUTLAYER_FUZZ_SMALL_MODEL_H

#include "fuzz.h"

#define SMALL_SMASHED 45u // elements at the deepest cut: 3 x 3 x 5
#define SMALL_ARENA 256u

extern const struct cl_trainable small_trainable;
extern const struct cl_model small_model;

#endif
