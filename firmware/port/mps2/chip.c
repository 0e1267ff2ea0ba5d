// Arm's MPS2 and MPS3 as QEMU emulates them: the CMSDK UART 0 is the link. boards/NAME.ini says
//   MPS2_CLOCK_HZ                 of the core, the UART and the timer
//   MPS2_UART, MPS2_UART_IRQ      the UART, and its receive interrupt
//   MPS2_TIMER                    a CMSDK timer or, with MPS2_COUNTER, an SSE timer
//   MPS2_COUNTER                  SSE-300: control of the counter behind its timers
// Registers: Arm CMSDK (DDI 0479) and SSE-300 (101773) technical reference manuals; addresses and
// interrupts: the boards' application notes AN385, AN386, AN500, AN505, AN547.
#include "cortex_m/chip.h"

struct uart {
    volatile uint32_t data;
    volatile uint32_t state;
    volatile uint32_t control;
    volatile uint32_t interrupt;
    volatile uint32_t divider;
};

#define UART ((struct uart *)MPS2_UART)
enum { STATE_TRANSMIT_FULL = 1, STATE_RECEIVE_FULL = 2 };
enum { CONTROL_TRANSMIT = 1, CONTROL_RECEIVE = 2, CONTROL_RECEIVE_INTERRUPT = 8 };
enum { INTERRUPT_RECEIVE = 2 };

#ifdef MPS2_COUNTER

// Counts up; its two words are read as one register each.
#define TIMER_COUNT (*(const volatile uint32_t *)MPS2_TIMER)

static void open_timer(void)
{
    *(volatile uint32_t *)MPS2_COUNTER = 1;
}

uint32_t chip_ticks(void)
{
    return TIMER_COUNT;
}

#else

struct timer {
    volatile uint32_t control;
    volatile uint32_t value;
    volatile uint32_t reload;
};

#define TIMER ((struct timer *)MPS2_TIMER)

static void open_timer(void)
{
    TIMER->reload = 0xFFFFFFFFu;
    TIMER->value = 0xFFFFFFFFu;
    TIMER->control = 1;
}

uint32_t chip_ticks(void)
{
    return ~TIMER->value; // counts down
}

#endif

void chip_open(struct chip *chip)
{
    chip->ticks_per_ms = MPS2_CLOCK_HZ / 1000u;
    chip->systicks_per_ms = MPS2_CLOCK_HZ / 1000u;
    chip->has_semihosting = 1;
    open_timer();
    UART->divider = MPS2_CLOCK_HZ / CUTLAYER_BAUD;
    UART->control = CONTROL_TRANSMIT | CONTROL_RECEIVE | CONTROL_RECEIVE_INTERRUPT;
    (void)UART->data; // what came before now; QEMU also takes it as "send me what waits"
    cortex_m_enable_interrupt(MPS2_UART_IRQ);
}

void chip_interrupt(void)
{
    UART->interrupt = INTERRUPT_RECEIVE;
    while (UART->state & STATE_RECEIVE_FULL) {
        cortex_m_received((uint8_t)UART->data);
    }
}

int32_t chip_write(const uint8_t *data, uint32_t count)
{
    uint32_t sent = 0;
    while (sent < count && !(UART->state & STATE_TRANSMIT_FULL)) {
        UART->data = data[sent++];
    }
    return (int32_t)sent;
}
