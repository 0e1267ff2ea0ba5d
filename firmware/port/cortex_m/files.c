// What an emulated microphone hears, by semihosting: the file on the command line. Labels are in
// PATH.labels where that exists.
#include <string.h>

#include "cortex_m/cortex_m.h"
#include "cortex_m/semihosting.h"
#include "cutlayer/sensor.h"

#define LABELS_SUFFIX ".labels"
enum { NO_LABEL = 255 };

struct files {
    int32_t microphone;
    int32_t labels;
    uint32_t label_count;
};

static struct files files;

static int32_t read_recordings(void *context, uint32_t offset, void *data, uint32_t count)
{
    const struct files *open = context;
    return semihosting_read(open->microphone, offset, data, count);
}

static int32_t label_of(void *context, uint32_t recording)
{
    const struct files *open = context;
    uint8_t label = NO_LABEL;
    if (recording >= open->label_count ||
        semihosting_read(open->labels, recording, &label, sizeof label) != (int32_t)sizeof label) {
        return CL_LABEL_NONE;
    }
    return label == NO_LABEL ? CL_LABEL_NONE : label;
}

// Cuts off the words that are marked.
static void end_word(char *text)
{
    char *next = strstr(text, " \n");
    if (next) {
        *next = 0;
    }
}

const char *cortex_m_word(char *line, const char *mark)
{
    int32_t length = semihosting_command_line(line, CORTEX_M_LINE_BYTES);
    char *word = length > 0 ? strstr(line, mark) : 0;
    if (!word) {
        return 0;
    }
    word += strlen(mark);
    end_word(word);
    return word;
}

int32_t cortex_m_open_files(struct cl_recordings *recordings)
{
    char line[CORTEX_M_LINE_BYTES + sizeof LABELS_SUFFIX];
    int32_t length = semihosting_command_line(line, CORTEX_M_LINE_BYTES);
    if (length > 0) {
        end_word(line);
    }
    char *path = length > 0 ? strchr(line, ' ') : 0;
    if (!path) {
        return CL_OK;
    }
    path += 1;
    files.microphone = semihosting_open(path);
    if (files.microphone < 0) {
        return files.microphone;
    }
    int32_t bytes = semihosting_bytes(files.microphone);
    if (bytes < 0) {
        return bytes;
    }
    recordings->context = &files;
    recordings->read = read_recordings;
    recordings->label = label_of;
    recordings->bytes = (uint32_t)bytes;
    memcpy(path + strlen(path), LABELS_SUFFIX, sizeof LABELS_SUFFIX);
    files.labels = semihosting_open(path);
    if (files.labels >= 0) {
        int32_t count = semihosting_bytes(files.labels);
        files.label_count = count > 0 ? (uint32_t)count : 0;
    }
    return CL_OK;
}
