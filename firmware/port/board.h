// What main.c asks of a port beyond struct cl_port. Each folder beside this file implements it
// once.
#ifndef BOARD_H
#define BOARD_H

#include "cutlayer/microphone.h"
#include "cutlayer/port.h"
#include "cutlayer/recordings.h"
#include "cutlayer/saver.h"

struct board {
    struct cl_port port;
    struct cl_recordings recordings;
    const struct cl_microphone *microphone; // null without one
    const struct cl_storage *storage;       // null without one
    struct cl_saver *saver;                 // for it; null without one, and not linked
};

// Opens the link, the clock and the recordings. The arguments are the process's; a bare-metal port
// ignores them. Returns the board, or null when it cannot run (said on the port's console).
struct board *board_open(int argc, char **argv);

// Sleeps until bytes arrive on the link or `wait_ms` have passed; negative: the link is lost, waits
// for the next host. Returns 0, or negative when the board is to stop.
int32_t board_wait(struct board *board, int32_t wait_ms) CL_CHECK_RESULT;

#endif
