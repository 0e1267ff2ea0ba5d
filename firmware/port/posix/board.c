// A board that is a process: firmware.elf --listen tcp:HOST:PORT|unix:PATH|pty [--microphone FILE]
// [--microphone-live FILE] [--storage FILE]
//
// It prints one line, {"url": "..."}, when hosts can reach it, and ends when its stdin closes or at
// SIGTERM or SIGINT.
#define _XOPEN_SOURCE 700
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cutlayer/node.h"
#include "cutlayer/sensor.h"
#include "listener.h"
#include "microphone.h"
#include "storage.h"

#define LABELS_SUFFIX ".labels"
#define PATH_BYTES 4096u
enum { NO_LABEL = 255 };

struct recorded {
    int audio; // descriptors, -1 for none
    int labels;
};

static struct listener listener;
static struct recorded recorded = {-1, -1};
static struct board the_board;
static struct cl_saver saver;
static volatile sig_atomic_t stopping;
static sigset_t signals_while_waiting;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static int32_t link_read(void *context, uint8_t *data, uint32_t capacity)
{
    return listener_read(context, data, capacity);
}

static int32_t link_write(void *context, const uint8_t *data, uint32_t count)
{
    return listener_write(context, data, count);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t now_ms(void *context)
{
    (void)context;
    return (uint32_t)(now_ns() / 1000000u);
}

// Nanoseconds of this computer: a figure of no board.
static uint32_t ticks(void *context)
{
    (void)context;
    return (uint32_t)now_ns();
}

static int32_t random_bytes(void *context, uint8_t *data, uint32_t count)
{
    (void)context;
    while (count > 0) {
        ssize_t drawn = getrandom(data, count, 0);
        if (drawn < 0 && errno != EINTR) {
            return CL_ERROR_PORT;
        }
        data += drawn > 0 ? drawn : 0;
        count -= drawn > 0 ? (uint32_t)drawn : 0;
    }
    return CL_OK;
}

static void log_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static int32_t recordings_read(void *context, uint32_t offset, void *data, uint32_t count)
{
    const struct recorded *open_files = context;
    ssize_t result = pread(open_files->audio, data, count, (off_t)offset);
    return result < 0 ? CL_ERROR_PORT : (int32_t)result;
}

static int32_t recordings_label(void *context, uint32_t recording)
{
    const struct recorded *open_files = context;
    uint8_t label = NO_LABEL;
    if (open_files->labels < 0 || pread(open_files->labels, &label, 1, (off_t)recording) != 1) {
        return CL_LABEL_NONE;
    }
    return label == NO_LABEL ? CL_LABEL_NONE : label;
}

// Returns the recordings' bytes, or negative.
static int64_t open_recordings(const char *path)
{
    char labels[PATH_BYTES];
    struct stat status;
    recorded.audio = open(path, O_RDONLY);
    if (recorded.audio < 0 || fstat(recorded.audio, &status) < 0 || status.st_size > UINT32_MAX ||
        snprintf(labels, sizeof labels, "%s%s", path, LABELS_SUFFIX) >= (int)sizeof labels) {
        fprintf(stderr, "error: the microphone's file %s cannot be read\n", path);
        return CL_ERROR_PORT;
    }
    recorded.labels = open(labels, O_RDONLY);
    return status.st_size;
}

// SIGTERM and SIGINT come through only while waiting, so that none is missed just before.
static int32_t watch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigset_t ours;
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGTERM);
    (void)sigaddset(&ours, SIGINT);
    if (sigaction(SIGTERM, &action, 0) < 0 || sigaction(SIGINT, &action, 0) < 0 ||
        sigprocmask(SIG_BLOCK, &ours, &signals_while_waiting) < 0) {
        return CL_ERROR_PORT;
    }
    action.sa_handler = SIG_IGN;
    // A host that goes and a storage that is full are errors of the calls, not the board's end.
    return sigaction(SIGPIPE, &action, 0) < 0 || sigaction(SIGXFSZ, &action, 0) < 0 ? CL_ERROR_PORT
                                                                                    : CL_OK;
}

// Returns 0, or negative when there is to be one and it cannot be opened.
static int32_t open_storage(const char *path)
{
    if (!path) {
        return CL_OK;
    }
    the_board.storage = storage_open(path);
    if (!the_board.storage) {
        return CL_ERROR_PORT;
    }
    cl_saver_init(&saver, the_board.storage);
    the_board.saver = &saver;
    return CL_OK;
}

struct board *board_open(int argc, char **argv)
{
    const char *address = 0;
    const char *path = 0;
    const char *live_path = 0;
    const char *storage_path = 0;
    int known = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--listen") == 0) {
            address = argv[i + 1];
        } else if (strcmp(argv[i], "--microphone") == 0) {
            path = argv[i + 1];
        } else if (strcmp(argv[i], "--microphone-live") == 0) {
            live_path = argv[i + 1];
        } else if (strcmp(argv[i], "--storage") == 0) {
            storage_path = argv[i + 1];
        } else {
            known = 0;
        }
    }
    if (!address || !known || argc % 2 == 0) {
        fprintf(stderr,
                "usage: %s --listen tcp:HOST:PORT|unix:PATH|pty [--microphone FILE] "
                "[--microphone-live FILE] [--storage FILE]\n",
                argv[0]);
        return 0;
    }
    int64_t bytes = path ? open_recordings(path) : 0;
    the_board.microphone = live_path ? microphone_open(live_path) : 0;
    if (bytes < 0 || (live_path && !the_board.microphone) || open_storage(storage_path) < 0 ||
        watch_signals() < 0 || listener_open(&listener, address) < 0) {
        return 0;
    }
    struct board *board = &the_board;
    board->port.context = &listener;
    board->port.read = link_read;
    board->port.write = link_write;
    board->port.now_ms = now_ms;
    board->port.ticks = ticks;
    board->port.random = random_bytes;
    board->port.log = log_line;
    board->port.receive_bytes = CL_NODE_RECEIVE_BYTES;
    board->port.board = "native";
    board->recordings.context = &recorded;
    board->recordings.read = recordings_read;
    board->recordings.label = recordings_label;
    board->recordings.bytes = (uint32_t)bytes;
    printf("{\"url\": \"%s\"}\n", listener.url);
    fflush(stdout);
    return board;
}

// Sleeps until the link, stdin or a signal has something, at most `wait_ms` (negative: no limit).
static int wait_for_input(int32_t wait_ms, int link, int write_too, fd_set *readable)
{
    fd_set writable;
    FD_ZERO(readable);
    FD_ZERO(&writable);
    FD_SET(STDIN_FILENO, readable);
    FD_SET(link, readable);
    if (write_too) {
        FD_SET(link, &writable);
    }
    int unheard = microphone_unheard();
    if (unheard >= 0) {
        FD_SET(unheard, readable);
    }
    struct timespec limit = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000L};
    return pselect((link > unheard ? link : unheard) + 1, readable, &writable, 0,
                   wait_ms < 0 ? 0 : &limit, &signals_while_waiting);
}

int32_t board_wait(struct board *board, int32_t wait_ms)
{
    (void)board;
    char ignored[64];
    fd_set readable;
    int ready;
    if (listener.host >= 0) {
        ready = wait_for_input(wait_ms < 0 ? 0 : wait_ms, listener.host, listener.write_blocked,
                               &readable);
    } else {
        ready = wait_for_input(-1, listener.listening, 0, &readable);
        if (ready > 0 && FD_ISSET(listener.listening, &readable)) {
            listener_accept(&listener);
        }
    }
    int unheard = microphone_unheard();
    if (ready > 0 && unheard >= 0 && FD_ISSET(unheard, &readable) && microphone_drop() < 0) {
        return CL_ERROR_PORT;
    }
    if (ready > 0 && FD_ISSET(STDIN_FILENO, &readable) &&
        read(STDIN_FILENO, ignored, sizeof ignored) <= 0) {
        stopping = 1;
    }
    if (stopping) {
        listener_close(&listener);
        return CL_ERROR_PORT;
    }
    return CL_OK;
}
