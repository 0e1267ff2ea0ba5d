// A chip's registers as memory of this process: what a port's chip.c, included before, writes
// there.
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static void map(unsigned long page)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void *)page, 0x1000, PROT_READ | PROT_WRITE, flags, -1, 0) != (void *)page) {
        perror("mmap");
        exit(1);
    }
}

void cortex_m_received(uint8_t byte)
{
    printf("received %u\n", byte);
}

void cortex_m_enable_interrupt(uint32_t number)
{
    printf("interrupt %u\n", number);
}

#endif
