// AVR: sleep until an interrupt, the stack's paint, and a console that only an emulator or a
// debugger sees.
#include "parts.h"

#include <avr/sleep.h>

// Symbols of avr-libc's linker script.
extern uint8_t _end;
extern uint8_t __stack;

#define PAINT 0xA5

extern "C" void paint_stack() __attribute__((naked, used, section(".init3")));

// Before the first push, so that nothing on the stack is painted over.
void paint_stack()
{
    __asm volatile("ldi r30, lo8(_end)\n"
                   "ldi r31, hi8(_end)\n"
                   "ldi r24, %0\n"
                   "ldi r25, hi8(__stack)\n"
                   "1: st Z+, r24\n"
                   "cpi r30, lo8(__stack)\n"
                   "cpc r31, r25\n"
                   "brlo 1b\n" ::"M"(PAINT));
}

static uint32_t stack_bytes(void *)
{
    const uint8_t *byte = &_end;
    while (byte < &__stack && *byte == PAINT) {
        ++byte;
    }
    return static_cast<uint32_t>(&__stack - byte) + 1;
}

uint32_t (*const machine_stack_bytes)(void *context) = stack_bytes;

// The timer of millis wakes it at the latest after a ms.
void machine_rest()
{
    SMCR = static_cast<uint8_t>(_BV(SE)); // idle: only the processor stops
    sleep_cpu();
    SMCR = 0;
}

void machine_log(void *, const char *line)
{
    while (*line) {
        GPIOR0 = static_cast<uint8_t>(*line++);
    }
    GPIOR0 = '\n';
}
