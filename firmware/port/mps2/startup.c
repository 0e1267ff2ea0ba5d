// From reset to main: the FPU, the stack's paint, .data and .bss. What can interrupt and what can
// fault.
#include <stdint.h>

#include "mps2.h"

extern uint32_t stack_bottom[], stack_top[];
extern uint32_t data_start[], data_end[], bss_start[], bss_end[];
extern const uint32_t data_load[];

int main(int argc, char **argv);
void reset_handler(void);
void prepare_and_run(void);

// The compiler may use the FPU in any function, so nothing in C runs before CPACR says that it may;
// so this is naked.
__attribute__((naked, noreturn)) void reset_handler(void)
{
    __asm volatile("ldr r0, =0xE000ED88\n" // CPACR: full access to coprocessors 10 and 11
                   "ldr r1, [r0]\n"
                   "orr r1, r1, #0x00F00000\n"
                   "str r1, [r0]\n"
                   "dsb\n"
                   "isb\n"
                   "b prepare_and_run\n");
}

__attribute__((noreturn)) void prepare_and_run(void)
{
    uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *word = stack_bottom; word < here - 16; ++word) {
        *word = MPS2_STACK_PAINT;
    }
    const uint32_t *from = data_load;
    for (volatile uint32_t *word = data_start; word < data_end; ++word) {
        *word = *from++;
    }
    for (volatile uint32_t *word = bss_start; word < bss_end; ++word) {
        *word = 0;
    }
    (void)main(0, 0);
    mps2_stop("main returned");
}

uint32_t mps2_stack_bytes(void)
{
    const uint32_t *word = stack_bottom;
    while (word < stack_top && *word == MPS2_STACK_PAINT) {
        ++word;
    }
    return (uint32_t)(stack_top - word) * 4;
}

static void fault_handler(void)
{
    mps2_stop("fault");
}

typedef void (*handler)(void);

__attribute__((used, section(".vectors"))) static const struct {
    const uint32_t *stack;
    handler system[15]; // reset, NMI, faults, SVCall, PendSV, SysTick
    handler external[32];
} vectors = {
    .stack = stack_top,
    .system = {[0] = reset_handler,
               [1] = fault_handler,
               [2] = fault_handler,
               [3] = fault_handler,
               [4] = fault_handler,
               [5] = fault_handler},
    .external = {[MPS2_IRQ_UART0_RECEIVE] = mps2_uart_receive_handler,
                 [MPS2_IRQ_TIMER1] = mps2_alarm_handler},
};
