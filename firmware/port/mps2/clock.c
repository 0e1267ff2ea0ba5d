// CMSDK timers of 32 bits, counting the 25 MHz clock down. Timer 0 runs freely: a tick is 40 ns of
// QEMU's virtual time, which under `-icount shift=6` is 0.625 instructions (an instruction is 64
// ns), to the instruction. Timer 1 wakes.
#include "mps2.h"

struct timer {
    volatile uint32_t control;
    volatile uint32_t value;
    volatile uint32_t reload;
    volatile uint32_t interrupt;
};

#define TIMER0 ((struct timer *)0x40000000u)
#define TIMER1 ((struct timer *)0x40001000u)
enum { CONTROL_ENABLE = 1, CONTROL_INTERRUPT = 8 };

#define NVIC_ENABLE ((volatile uint32_t *)0xE000E100u)
#define TICKS_PER_MS (MPS2_CLOCK_HZ / 1000u)
#define LONGEST_SLEEP_MS 60000u

static uint32_t last_ticks;
static uint32_t ticks_beyond_ms;
static uint32_t now_ms;

void mps2_enable_interrupt(int32_t number)
{
    NVIC_ENABLE[number / 32] = 1u << (number % 32);
}

void mps2_clock_open(void)
{
    TIMER0->reload = 0xFFFFFFFFu;
    TIMER0->value = 0xFFFFFFFFu;
    TIMER0->control = CONTROL_ENABLE;
    mps2_enable_interrupt(MPS2_IRQ_TIMER1);
}

uint32_t mps2_clock_ticks(void)
{
    return ~TIMER0->value;
}

// No interrupt counts the ms, so that none disturbs a count of instructions. Called at least once
// in 171 s.
uint32_t mps2_clock_ms(void)
{
    uint32_t ticks = mps2_clock_ticks();
    uint32_t passed = ticks - last_ticks;
    last_ticks = ticks;
    uint32_t ms = passed / TICKS_PER_MS;
    ticks_beyond_ms += passed % TICKS_PER_MS;
    if (ticks_beyond_ms >= TICKS_PER_MS) {
        ticks_beyond_ms -= TICKS_PER_MS;
        ms += 1;
    }
    now_ms += ms;
    return now_ms;
}

void mps2_alarm_handler(void)
{
    TIMER1->interrupt = 1;
    TIMER1->control = 0;
}

void mps2_clock_sleep(uint32_t wait_ms)
{
    if (wait_ms > LONGEST_SLEEP_MS) {
        wait_ms = LONGEST_SLEEP_MS;
    }
    TIMER1->control = 0;
    TIMER1->value = wait_ms * TICKS_PER_MS;
    TIMER1->control = CONTROL_ENABLE | CONTROL_INTERRUPT;
    // With interrupts held off a byte cannot slip in between the look and the sleep; WFI wakes all
    // the same.
    __asm volatile("cpsid i" ::: "memory");
    if (mps2_uart_waiting() == 0) {
        __asm volatile("dsb\n wfi" ::: "memory");
    }
    __asm volatile("cpsie i\n isb" ::: "memory");
    TIMER1->control = 0;
}
