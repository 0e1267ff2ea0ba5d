// Inside the posix port: a live microphone that is a file which somebody else makes grow, or a
// named pipe that somebody else writes to.
#ifndef POSIX_MICROPHONE_H
#define POSIX_MICROPHONE_H

#include "cutlayer/microphone.h"

// Opens `path`, samples s16le at 16 kHz; what is appended or written is heard as it comes.
// Returns the microphone, or null when it cannot be read (said on stderr).
const struct cl_microphone *microphone_open(const char *path);

// Returns the descriptor of a pipe while nobody listens, so that the board can wait for what has to
// be dropped; -1 otherwise.
int microphone_unheard(void);

// Drops what was written to the pipe, so that the writer never waits. Returns 0 or negative.
int32_t microphone_drop(void) CL_CHECK_RESULT;

#endif
