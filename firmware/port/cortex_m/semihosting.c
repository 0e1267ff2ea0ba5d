#include "cortex_m/semihosting.h"

#include <string.h>

enum operation {
    SYS_OPEN = 0x01,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_SEEK = 0x0A,
    SYS_FLEN = 0x0C,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
};

enum mode { OPEN_READ_BINARY = 1, OPEN_UPDATE_BINARY = 3, OPEN_NEW_BINARY = 7 };

static int32_t call(enum operation operation, const void *argument)
{
    register int32_t r0 __asm("r0") = (int32_t)operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static int32_t open_as(const char *path, enum mode mode)
{
    const uint32_t block[3] = {(uint32_t)path, mode, strlen(path)};
    return call(SYS_OPEN, block);
}

int32_t semihosting_open(const char *path)
{
    return open_as(path, OPEN_READ_BINARY);
}

int32_t semihosting_open_to_write(const char *path)
{
    int32_t file = open_as(path, OPEN_UPDATE_BINARY);
    return file < 0 ? open_as(path, OPEN_NEW_BINARY) : file;
}

int32_t semihosting_bytes(int32_t file)
{
    const uint32_t block[1] = {(uint32_t)file};
    return call(SYS_FLEN, block);
}

static int32_t seek(int32_t file, uint32_t offset)
{
    const uint32_t block[2] = {(uint32_t)file, offset};
    return call(SYS_SEEK, block);
}

int32_t semihosting_read(int32_t file, uint32_t offset, void *data, uint32_t count)
{
    int32_t result = seek(file, offset);
    if (result < 0) {
        return result;
    }
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)data, count};
    int32_t missing = call(SYS_READ, block);
    return missing < 0 ? missing : (int32_t)count - missing;
}

int32_t semihosting_put(int32_t file, uint32_t offset, const void *data, uint32_t count)
{
    int32_t result = seek(file, offset);
    if (result < 0) {
        return result;
    }
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)data, count};
    return call(SYS_WRITE, block);
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
