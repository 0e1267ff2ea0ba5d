// Files and the console of the computer that emulates, by Arm semihosting (Arm IHI 0067,
// "Semihosting for AArch32 and AArch64"). It is the board's own side: nothing of it is on the link.
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

#include "cutlayer/error.h"

// Opens a file for reading. Returns its handle, or negative.
int32_t semihosting_open(const char *path) CL_CHECK_RESULT;

// Opens a file for reading and writing, made when it is not there. Returns its handle, or negative.
int32_t semihosting_open_to_write(const char *path) CL_CHECK_RESULT;

// Bytes of an open file, or negative.
int32_t semihosting_bytes(int32_t file) CL_CHECK_RESULT;

// Reads `count` bytes from `offset` on. Returns the bytes read, or negative.
int32_t semihosting_read(int32_t file, uint32_t offset, void *data, uint32_t count) CL_CHECK_RESULT;

// Writes `count` bytes from `offset` on. Returns the bytes that were not written, or negative.
int32_t semihosting_put(int32_t file, uint32_t offset, const void *data,
                        uint32_t count) CL_CHECK_RESULT;

// The command line that the emulator was given: words joined by spaces. Returns its length, or
// negative.
int32_t semihosting_command_line(char *line, uint32_t capacity) CL_CHECK_RESULT;

void semihosting_write(const char *text);

__attribute__((noreturn)) void semihosting_exit(int32_t status);

#endif
