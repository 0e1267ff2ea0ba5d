// From reset to main: the FPU, the stack's paint, .data and .bss. What can interrupt and what can
// fault.
#include <stdint.h>

#include "cortex_m/chip.h"
#include "cortex_m/cortex_m.h"

#define STACK_PAINT 0xC0FFEE11u
#define VECTOR_TABLE (*(volatile uint32_t *)0xE000ED08u) // VTOR
enum { EXTERNAL_INTERRUPTS = 96 };

extern uint32_t stack_bottom[], stack_top[];
extern uint32_t data_start[], data_end[], bss_start[], bss_end[];
extern const uint32_t data_load[];

typedef void (*handler)(void);

int main(int argc, char **argv);
void reset_handler(void);
void prepare_and_run(void);
void systick_handler(void);

static void fault_handler(void)
{
    cortex_m_stop("fault");
}

__attribute__((used, section(".vectors"))) static const struct {
    const uint32_t *stack;
    handler system[15]; // reset, NMI, faults, SVCall, PendSV, SysTick
    handler external[EXTERNAL_INTERRUPTS];
} vectors = {
    .stack = stack_top,
    .system = {reset_handler, [1 ... 13] = fault_handler, [14] = systick_handler},
    .external = {[0 ... EXTERNAL_INTERRUPTS - 1] = chip_interrupt},
};

// The compiler may use the FPU in any function, so nothing in C runs before CPACR says that it may;
// so this is naked.
__attribute__((naked, noreturn)) void reset_handler(void)
{
    __asm volatile(
#ifdef __ARM_FP
        "ldr r0, =0xE000ED88\n" // CPACR: full access to coprocessors 10 and 11
        "ldr r1, [r0]\n"
        "orr r1, r1, #0x00F00000\n"
        "str r1, [r0]\n"
        "dsb\n"
        "isb\n"
#endif
        "b prepare_and_run\n");
}

__attribute__((noreturn)) void prepare_and_run(void)
{
    VECTOR_TABLE = (uint32_t)&vectors; // a boot loader has one of its own
    uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *word = stack_bottom; word < here - 16; ++word) {
        *word = STACK_PAINT;
    }
    const uint32_t *from = data_load;
    for (volatile uint32_t *word = data_start; word < data_end; ++word) {
        *word = *from++;
    }
    for (volatile uint32_t *word = bss_start; word < bss_end; ++word) {
        *word = 0;
    }
    (void)main(0, 0);
    cortex_m_stop("main returned");
}

uint32_t cortex_m_stack_bytes(void)
{
    const uint32_t *word = stack_bottom;
    while (word < stack_top && *word == STACK_PAINT) {
        ++word;
    }
    return (uint32_t)(stack_top - word) * 4;
}
