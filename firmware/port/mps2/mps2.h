// Inside the mps2 port: the parts that its files give each other. Registers: Arm CMSDK technical
// reference manual (DDI 0479), memory map and interrupts: Arm AN386.
#ifndef MPS2_H
#define MPS2_H

#include <stdint.h>

#include "cutlayer/error.h"

#define MPS2_CLOCK_HZ 25000000u
#define MPS2_STACK_PAINT 0xC0FFEE11u

enum { MPS2_IRQ_UART0_RECEIVE = 0, MPS2_IRQ_TIMER1 = 9 };

// The UART's receive ring; a power of two.
#define MPS2_RECEIVE_BYTES 4096u

void mps2_uart_open(void);
void mps2_uart_receive_handler(void);
int32_t mps2_uart_read(uint8_t *data, uint32_t capacity) CL_CHECK_RESULT;
int32_t mps2_uart_write(const uint8_t *data, uint32_t count) CL_CHECK_RESULT;
uint32_t mps2_uart_waiting(void);

// A timer that counts the clock up from 0 and wraps, and one that wakes.
void mps2_clock_open(void);
uint32_t mps2_clock_ticks(void);
uint32_t mps2_clock_ms(void);
void mps2_alarm_handler(void);

// Sleeps until an interrupt is pending or `wait_ms` have passed, unless bytes wait already.
void mps2_clock_sleep(uint32_t wait_ms);

// Bytes of the stack that have ever been used.
uint32_t mps2_stack_bytes(void);

// Says `reason` on the emulator's console and ends the emulation as failed.
__attribute__((noreturn)) void mps2_stop(const char *reason);

void mps2_enable_interrupt(int32_t number);

#endif
