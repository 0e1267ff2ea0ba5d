// The board of QEMU's mps2-an386. The semihosting command line is "firmware PATH" with the
// microphone's file, or "firmware".
#include "board.h"

#include <string.h>

#include "cutlayer/sensor.h"
#include "mps2.h"
#include "semihosting.h"

#define LABELS_SUFFIX ".labels"
#define PATH_BYTES 1024u
enum { NO_LABEL = 255 };

struct files {
    int32_t microphone; // negative: none
    int32_t labels;
    uint32_t label_count;
};

static struct files files;
static struct board the_board;

static int32_t link_read(void *context, uint8_t *data, uint32_t capacity)
{
    (void)context;
    return mps2_uart_read(data, capacity);
}

static int32_t link_write(void *context, const uint8_t *data, uint32_t count)
{
    (void)context;
    return mps2_uart_write(data, count);
}

static uint32_t now_ms(void *context)
{
    (void)context;
    return mps2_clock_ms();
}

static uint32_t ticks(void *context)
{
    (void)context;
    return mps2_clock_ticks();
}

static uint32_t stack_bytes(void *context)
{
    (void)context;
    return mps2_stack_bytes();
}

static void log_line(void *context, const char *line)
{
    (void)context;
    semihosting_write(line);
    semihosting_write("\n");
}

static int32_t recordings_read(void *context, uint32_t offset, void *data, uint32_t count)
{
    const struct files *open = context;
    return semihosting_read(open->microphone, offset, data, count);
}

static int32_t recordings_label(void *context, uint32_t recording)
{
    const struct files *open = context;
    uint8_t label = NO_LABEL;
    if (recording >= open->label_count ||
        semihosting_read(open->labels, recording, &label, sizeof label) != (int32_t)sizeof label) {
        return CL_LABEL_NONE;
    }
    return label == NO_LABEL ? CL_LABEL_NONE : label;
}

// Returns the microphone's bytes, 0 without one, negative when its file cannot be read.
static int32_t open_files(void)
{
    char line[PATH_BYTES + sizeof LABELS_SUFFIX];
    files.microphone = -1;
    int32_t length = semihosting_command_line(line, PATH_BYTES);
    char *path = length > 0 ? strchr(line, ' ') : 0;
    if (!path) {
        return 0;
    }
    path += 1;
    files.microphone = semihosting_open(path);
    if (files.microphone < 0) {
        log_line(0, "error: the microphone's file cannot be read");
        return files.microphone;
    }
    int32_t bytes = semihosting_bytes(files.microphone);
    memcpy(path + strlen(path), LABELS_SUFFIX, sizeof LABELS_SUFFIX);
    files.labels = semihosting_open(path);
    if (files.labels >= 0) {
        int32_t count = semihosting_bytes(files.labels);
        files.label_count = count > 0 ? (uint32_t)count : 0;
    }
    return bytes;
}

struct board *board_open(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    mps2_clock_open();
    mps2_uart_open();
    int32_t bytes = open_files();
    if (bytes < 0) {
        return 0;
    }
    struct board *board = &the_board;
    board->port.read = link_read;
    board->port.write = link_write;
    board->port.now_ms = now_ms;
    board->port.ticks = ticks;
    board->port.stack_bytes = stack_bytes;
    board->port.log = log_line;
    board->port.receive_bytes = MPS2_RECEIVE_BYTES;
    board->port.board = "qemu_mps2_an386";
    board->recordings.context = &files;
    board->recordings.read = recordings_read;
    board->recordings.label = recordings_label;
    board->recordings.bytes = (uint32_t)bytes;
    return board;
}

int32_t board_wait(struct board *board, int32_t wait_ms)
{
    (void)board;
    if (wait_ms > 0) {
        mps2_clock_sleep((uint32_t)wait_ms);
    }
    return CL_OK;
}

void mps2_stop(const char *reason)
{
    log_line(0, reason);
    semihosting_exit(1);
}
