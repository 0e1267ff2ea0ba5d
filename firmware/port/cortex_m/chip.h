// What all Cortex-M ports share (this folder: start-up, receive ring, sleep, recordings) asks of a
// chip, and what it gives. A port is one chip.c that implements the functions chip_*.
#ifndef CHIP_H
#define CHIP_H

#include <stdint.h>

#include "cutlayer/error.h"
#include "cutlayer/storage.h"

struct chip {
    uint32_t ticks_per_ms;    // of chip_ticks
    uint32_t systicks_per_ms; // of SysTick, when it counts the core's clock
    // 1: an emulator or a debugger serves BKPT 0xAB. On a chip without one that is a fault.
    uint8_t has_semihosting;
};

// Starts clocks, pins, the free-running timer and the UART with its receive interrupt, and says
// what they are.
void chip_open(struct chip *chip);

// A counter that runs freely and wraps at 2^32.
uint32_t chip_ticks(void);

// As cl_port.write: returns the bytes that the UART took, 0 for later.
int32_t chip_write(const uint8_t *data, uint32_t count) CL_CHECK_RESULT;

// As cl_port.random, from the chip's own generator. A chip.c without one leaves it out.
int32_t chip_random(uint8_t *data, uint32_t count) CL_CHECK_RESULT;

// The storage in the chip's own flash. A chip.c without one leaves it out.
const struct cl_storage *chip_storage(void);

// Every external interrupt. Hands the bytes that the UART has received to cortex_m_received and
// takes the cause of the interrupt away.
void chip_interrupt(void);

// Gives one received byte to the ring; only from chip_interrupt.
void cortex_m_received(uint8_t byte);

// Lets the external interrupt of that number through.
void cortex_m_enable_interrupt(uint32_t number);

#endif
