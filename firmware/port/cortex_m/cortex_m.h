// Inside cortex_m: the parts that its files give each other.
#ifndef CORTEX_M_H
#define CORTEX_M_H

#include <stdint.h>

#include "cutlayer/microphone.h"
#include "cutlayer/recordings.h"
#include "cutlayer/storage.h"

// The receive ring, of CL_NODE_RECEIVE_BYTES.
int32_t cortex_m_read(uint8_t *data, uint32_t capacity) CL_CHECK_RESULT;
uint32_t cortex_m_waiting(void);

// Bytes of the stack that have ever been used.
uint32_t cortex_m_stack_bytes(void);

// Opens the files on the emulator's command line, if there are any. Returns 0, or negative when one
// cannot be read.
int32_t cortex_m_open_files(struct cl_recordings *recordings) CL_CHECK_RESULT;

// The emulator's command line: "firmware", the microphone's file when there is one, and words that
// begin as below and end with the file of the live microphone or of the storage.
#define CORTEX_M_LIVE "\nlive:"
#define CORTEX_M_STORAGE "\nstorage:"
#define CORTEX_M_LINE_BYTES 1024u

// Reads the command line into `line`, of CORTEX_M_LINE_BYTES. Returns what follows `mark` in it, or
// null when it has no such word.
const char *cortex_m_word(char *line, const char *mark);

// Opens the storage on the emulator's command line; null without one. Returns 0, or negative when
// its file cannot be opened.
int32_t cortex_m_open_storage(const struct cl_storage **opened) CL_CHECK_RESULT;

// Opens the live microphone on the emulator's command line; null without one. Returns 0, or
// negative when its file cannot be read.
int32_t cortex_m_open_microphone(const struct cl_microphone **opened) CL_CHECK_RESULT;

// Opens the recordings in the chip's flash, if there are any.
void cortex_m_open_flashed(struct cl_recordings *recordings);

// Ends for good, and says why where somebody can read it.
__attribute__((noreturn)) void cortex_m_stop(const char *reason);

#endif
