// Inside the posix port: where hosts reach the process. One host after another.
#ifndef LISTENER_H
#define LISTENER_H

#include <stdint.h>

#include "cutlayer/error.h"

#define LISTENER_URL_BYTES 192

struct listener {
    int listening;     // descriptor, -1 for a pty
    int host;          // descriptor of the host that is connected, -1 for none
    int terminal;      // a pty's other end, kept open so that it lives without a host; -1
    int write_blocked; // 1: the last write did not take everything
    char path[LISTENER_URL_BYTES]; // of the Unix socket, to be removed at the end
    char url[LISTENER_URL_BYTES];  // tcp://HOST:PORT, unix:///PATH or serial:///dev/pts/N
};

// Listens at `address`: tcp:HOST:PORT (port 0: any free one), unix:PATH or pty.
// Returns 0, or negative when that cannot be (said on stderr).
int32_t listener_open(struct listener *listener, const char *address) CL_CHECK_RESULT;

void listener_close(struct listener *listener);

// Takes the host that waits, if one does.
void listener_accept(struct listener *listener);

// Both as in struct cl_port.
int32_t listener_read(struct listener *listener, uint8_t *data, uint32_t capacity) CL_CHECK_RESULT;
int32_t listener_write(struct listener *listener, const uint8_t *data,
                       uint32_t count) CL_CHECK_RESULT;

#endif
