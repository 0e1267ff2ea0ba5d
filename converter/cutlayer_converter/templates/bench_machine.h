// A program on an emulated Cortex-M without an operating system, for cutlayer_converter.counted. It
// defines count(), which runs once; with BENCH_COUNT it may write to the console and read the
// timer.
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdint.h>

#define STACK_BYTES 8192u
#define PAINT 0x5AA5C33Cu

static void count(void);

static uint32_t stack[STACK_BYTES / 4] __attribute__((aligned(8)));

void reset_handler(void);
void fault_handler(void);

__attribute__((used, section(".vectors"))) static const struct {
    const uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {
    &stack[STACK_BYTES / 4],
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler}};

#if defined(BENCH_COUNT)
// CMSDK timer 0 counts down at 25 MHz.
struct timer {
    uint32_t control, value, reload;
};
#define TIMER ((volatile struct timer *)0x40000000u)

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void say(const char *text)
{
    (void)semihosting(0x04, text); // SYS_WRITE0
}

static void say_number(const char *name, uint32_t number)
{
    char text[12];
    char *start = &text[11];
    *start = '\0';
    do {
        *--start = (char)('0' + number % 10u);
        number /= 10u;
    } while (number);
    say(name);
    say(start);
}

// Stack that `run` takes below its caller.
__attribute__((noinline, unused)) static uint32_t stack_bytes(void (*run)(void))
{
    uint32_t *const here = __builtin_frame_address(0);
    for (volatile uint32_t *word = stack; word < here - 16; word++) {
        *word = PAINT;
    }
    run();
    const volatile uint32_t *word = stack;
    while (*word == PAINT) {
        word++;
    }
    return (uint32_t)(here - word) * 4;
}

void fault_handler(void)
{
    const uint32_t internal_error[2] = {0x20024u, 1};
    say("\nfault\n");
    for (;;) {
        (void)semihosting(0x20, internal_error); // SYS_EXIT_EXTENDED
    }
}

__attribute__((used, noreturn)) static void start(void)
{
    const uint32_t application_exit[2] = {0x20026u, 0};
    TIMER->reload = 0xFFFFFFFFu;
    TIMER->value = 0xFFFFFFFFu;
    TIMER->control = 1;
    count();
    for (;;) {
        (void)semihosting(0x20, application_exit);
    }
}
#else
void fault_handler(void)
{
    for (;;) {
    }
}

__attribute__((used, noreturn)) static void start(void)
{
    for (;;) {
        count();
    }
}
#endif

// No C before the FPU is on (CPACR): the compiler may use it anywhere. On a core without one this
// changes nothing.
__attribute__((naked, noreturn)) void reset_handler(void)
{
    __asm volatile("ldr r0, =0xE000ED88\n"
                   "ldr r1, [r0]\n"
                   "orr r1, r1, #0x00F00000\n"
                   "str r1, [r0]\n"
                   "dsb\n"
                   "isb\n"
                   "b start\n");
}

#endif
