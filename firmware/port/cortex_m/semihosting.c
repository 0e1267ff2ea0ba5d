#include "cortex_m/semihosting.h"

#include <string.h>

enum operation {
    SYS_OPEN = 0x01,
    SYS_WRITE0 = 0x04,
    SYS_READ = 0x06,
    SYS_SEEK = 0x0A,
    SYS_FLEN = 0x0C,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
};

enum { OPEN_READ_BINARY = 1 };

static int32_t call(enum operation operation, const void *argument)
{
    register int32_t r0 __asm("r0") = (int32_t)operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int32_t semihosting_open(const char *path)
{
    const uint32_t block[3] = {(uint32_t)path, OPEN_READ_BINARY, strlen(path)};
    return call(SYS_OPEN, block);
}

int32_t semihosting_bytes(int32_t file)
{
    const uint32_t block[1] = {(uint32_t)file};
    return call(SYS_FLEN, block);
}

int32_t semihosting_read(int32_t file, uint32_t offset, void *data, uint32_t count)
{
    const uint32_t seek[2] = {(uint32_t)file, offset};
    int32_t result = call(SYS_SEEK, seek);
    if (result < 0) {
        return result;
    }
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)data, count};
    int32_t missing = call(SYS_READ, block);
    return missing < 0 ? missing : (int32_t)count - missing;
}

int32_t semihosting_command_line(char *line, uint32_t capacity)
{
    uint32_t block[2] = {(uint32_t)line, capacity};
    int32_t result = call(SYS_GET_CMDLINE, block);
    return result < 0 ? result : (int32_t)block[1];
}

void semihosting_write(const char *text)
{
    (void)call(SYS_WRITE0, text);
}

void semihosting_exit(int32_t status)
{
    const uint32_t application_exit = 0x20026u;
    const uint32_t block[2] = {application_exit, (uint32_t)status};
    for (;;) {
        (void)call(SYS_EXIT_EXTENDED, block);
    }
}
