// Inside the posix port: a live microphone that is a file which somebody else makes grow.
#ifndef POSIX_MICROPHONE_H
#define POSIX_MICROPHONE_H

#include "cutlayer/microphone.h"

// Opens `path`, samples s16le at 16 kHz; what is appended is heard as it comes.
// Returns the microphone, or null when it cannot be read (said on stderr).
const struct cl_microphone *microphone_open(const char *path);

#endif
