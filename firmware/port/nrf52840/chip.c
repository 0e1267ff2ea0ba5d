// nRF52840 (Nordic PS 1.7), and with NRF51822 that chip (RM 3.0): alike in what is used here. The
// link is the UART without EasyDMA: its FIFO of 6 bytes outlasts an interrupt that comes late.
#include "cortex_m/chip.h"

struct gpio {
    volatile uint32_t set;
    uint32_t reserved0[3];
    volatile uint32_t output;
    uint32_t reserved1[121];
    volatile uint32_t pin[32];
};

struct uart {
    volatile uint32_t start_receive;
    uint32_t reserved0;
    volatile uint32_t start_transmit;
    uint32_t reserved1[63];
    volatile uint32_t received;
    uint32_t reserved2[4];
    volatile uint32_t transmitted;
    uint32_t reserved3[121];
    volatile uint32_t interrupts;
    uint32_t reserved4[126];
    volatile uint32_t enable;
    uint32_t reserved5[2];
    volatile uint32_t transmit_pin;
    uint32_t reserved6;
    volatile uint32_t receive_pin;
    volatile uint32_t receive;
    volatile uint32_t transmit;
    uint32_t reserved7;
    volatile uint32_t baud;
};

struct timer {
    volatile uint32_t start;
    uint32_t reserved0[15];
    volatile uint32_t capture[6];
    uint32_t reserved1[58];
    volatile uint32_t compared[6];
    uint32_t reserved2[107];
    volatile uint32_t interrupts;
    uint32_t reserved3[128];
    volatile uint32_t bits;
    uint32_t reserved4;
    volatile uint32_t prescaler;
    uint32_t reserved5[11];
    volatile uint32_t count[6];
};

#define START_CRYSTAL (*(volatile uint32_t *)0x40000000u)
#define CRYSTAL_IS_UP (*(volatile uint32_t *)0x40000100u)
#define CLOCK_STATUS (*(volatile uint32_t *)0x4000040Cu)
#define CLOCK_RUNS (1u << 16)

#ifdef NRF51822 // BBC micro:bit; QEMU's clock shows 1 in every register
enum { TRANSMIT_PIN = 24, RECEIVE_PIN = 25 };
#define IS_QEMU (!(CLOCK_STATUS & CLOCK_RUNS))
#else // nRF52840 DK
enum { TRANSMIT_PIN = 6, RECEIVE_PIN = 8 };
#define IS_QEMU 0
#endif
#define GPIO0 ((struct gpio *)0x50000508u)
enum { INPUT_PULL_UP = 3 << 2 };
#define UART ((struct uart *)0x40002000u)
#if CUTLAYER_BAUD != 921600 && CUTLAYER_BAUD != 115200
#error "cutlayer.baud of the board's JSON is neither 921600 nor 115200, whose values are below"
#endif
#define BAUD (CUTLAYER_BAUD == 921600 ? 0x0EBED000u : 0x01D7E000u)
enum { UART_ENABLE = 4, RECEIVE_INTERRUPT = 1 << 2, UART_IRQ = 2 };

#define TIMER ((struct timer *)0x40008000u)
enum { NOW = 0, ALARM = 1, ALARM_INTERRUPT = 1 << (16 + ALARM), BITS_32 = 3, TIMER_IRQ = 8 };
enum { TICKS_PER_MS = 16000, CORE_TICKS_PER_MS = 64000 };

// The first byte has none before it that could have been transmitted.
static uint8_t transmits;

static uint32_t captured(uint32_t channel)
{
    TIMER->capture[channel] = 1;
    return TIMER->count[channel];
}

// SysTick stands still while the core sleeps (the nRF51822 has none), so an alarm each ms wakes it:
// board_wait may wake early. QEMU sees the capture as a match, so the event goes after it.
static void set_alarm(void)
{
    TIMER->count[ALARM] = captured(ALARM) + TICKS_PER_MS;
    TIMER->compared[ALARM] = 0;
}

void chip_open(struct chip *chip)
{
    chip->ticks_per_ms = TICKS_PER_MS;
    chip->systicks_per_ms = CORE_TICKS_PER_MS;

    // Without its crystal the chip is too far off for a UART.
    START_CRYSTAL = 1;
    while (!CRYSTAL_IS_UP) {
    }
    chip->has_semihosting = IS_QEMU;

    TIMER->bits = BITS_32;
    TIMER->prescaler = 0;
    TIMER->start = 1;
    set_alarm();
    TIMER->interrupts = ALARM_INTERRUPT;
    cortex_m_enable_interrupt(TIMER_IRQ);

    GPIO0->set = 1u << TRANSMIT_PIN; // idle until the UART has the pin
    GPIO0->output = 1u << TRANSMIT_PIN;
    GPIO0->pin[RECEIVE_PIN] = INPUT_PULL_UP;
    UART->transmit_pin = TRANSMIT_PIN;
    UART->receive_pin = RECEIVE_PIN;
    UART->baud = BAUD;
    UART->enable = UART_ENABLE;
    UART->interrupts = RECEIVE_INTERRUPT;
    UART->start_receive = 1;
    UART->start_transmit = 1;
    cortex_m_enable_interrupt(UART_IRQ);
}

uint32_t chip_ticks(void)
{
    return captured(NOW);
}

void chip_interrupt(void)
{
    if (TIMER->compared[ALARM]) {
        set_alarm();
    }
    // The next byte is announced as soon as this one is read, so the event is taken away before.
    while (UART->received) {
        UART->received = 0;
        cortex_m_received((uint8_t)UART->receive);
    }
}

int32_t chip_write(const uint8_t *data, uint32_t count)
{
    uint32_t sent = 0;
    while (sent < count && (!transmits || UART->transmitted)) {
        transmits = 1;
        UART->transmitted = 0;
        UART->transmit = data[sent++];
    }
    return (int32_t)sent;
}
