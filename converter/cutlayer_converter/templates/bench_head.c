// A compiled head on an emulated Cortex-M without an operating system, for
// cutlayer_converter.measure.
//
// With BENCH_COUNT it runs each sample of bench_samples.h and writes lines to the console:
//   total TICKS, op INDEX TICKS, stack BYTES (of the last sample), output HEX (of every sample).
// Without, it only runs the head: what its flash is.
#include <stdint.h>

#include "cutlayer_model.h"

#define STACK_BYTES 8192u
#define PAINT 0x5AA5C33Cu

static int8_t arena[CUTLAYER_MODEL_ARENA_BYTES] __attribute__((aligned(16)));
static uint32_t stack[STACK_BYTES / 4] __attribute__((aligned(8)));

void reset_handler(void);
void fault_handler(void);

__attribute__((used, section(".vectors"))) static const struct {
    const uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {
    &stack[STACK_BYTES / 4],
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler}};

static int32_t run(uint16_t first, uint16_t last)
{
    return cl_head_run(&cutlayer_model.head, arena, first, last);
}

#if defined(BENCH_COUNT)
#include <string.h>

#include "bench_samples.h"

// CMSDK timer 0 counts down at 25 MHz.
struct timer {
    uint32_t control, value, reload;
};
#define TIMER ((volatile struct timer *)0x40000000u)

static void semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void say(const char *text)
{
    semihosting(0x04, text); // SYS_WRITE0
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

static void say_hex(const int8_t *bytes, uint32_t count)
{
    say("output ");
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t byte = (uint8_t)bytes[i];
        const char text[3] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15u], '\0'};
        say(text);
    }
    say("\n");
}

__attribute__((noinline)) static uint32_t stack_bytes(void)
{
    uint32_t *const here = __builtin_frame_address(0);
    for (volatile uint32_t *word = stack; word < here - 16; word++) {
        *word = PAINT;
    }
    (void)run(0, cutlayer_model.head.op_count);
    const volatile uint32_t *word = stack;
    while (*word == PAINT) {
        word++;
    }
    return (uint32_t)(here - word) * 4;
}

static uint32_t ticks(uint16_t first, uint16_t last)
{
    const uint32_t start = TIMER->value;
    (void)run(first, last);
    return start - TIMER->value;
}

static void count(void)
{
    const struct cl_head *head = &cutlayer_model.head;
    const struct cl_cut *end = &head->cuts[head->cut_count - 1];
    TIMER->reload = 0xFFFFFFFFu;
    TIMER->value = 0xFFFFFFFFu;
    TIMER->control = 1;
    for (uint32_t sample = 0; sample < SAMPLE_COUNT; sample++) {
        int8_t *const input = arena + head->input_offset;
        memcpy(input, samples[sample], sizeof(samples[sample]));
        if (sample + 1 == SAMPLE_COUNT) {
            const uint32_t nothing = ticks(0, 0);
            say_number("stack ", stack_bytes());
            memcpy(input, samples[sample], sizeof(samples[sample]));
            for (uint16_t i = 0; i < head->op_count; i++) {
                const uint32_t spent = ticks(i, (uint16_t)(i + 1)) - nothing;
                say_number("\nop ", i);
                say_number(" ", spent);
            }
            memcpy(input, samples[sample], sizeof(samples[sample]));
            say_number("\ntotal ", ticks(0, head->op_count) - nothing);
            say("\n");
        } else {
            (void)run(0, head->op_count);
        }
        say_hex(arena + end->offset, cl_shape_count(end->shape));
    }
}

void fault_handler(void)
{
    const uint32_t internal_error[2] = {0x20024u, 1};
    say("\nfault\n");
    for (;;) {
        semihosting(0x20, internal_error); // SYS_EXIT_EXTENDED
    }
}

__attribute__((used, noreturn)) static void start(void)
{
    const uint32_t application_exit[2] = {0x20026u, 0};
    count();
    for (;;) {
        semihosting(0x20, application_exit);
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
        (void)run(0, cutlayer_model.head.op_count);
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
