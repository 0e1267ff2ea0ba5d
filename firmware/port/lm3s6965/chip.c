// Stellaris LM3S6965: UART0 on PA0 (receives) and PA1 (sends) is the link, the watchdog the clock.
// Registers: Texas Instruments, LM3S6965 data sheet (SPMS064).
#include "cortex_m/chip.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define LDO_POWER REGISTER(0x400FE034u)
#define RAW_INTERRUPTS REGISTER(0x400FE050u)
#define RUN_CLOCK REGISTER(0x400FE060u)
#define CLOCK_GATES_0 REGISTER(0x400FE100u)
#define CLOCK_GATES_1 REGISTER(0x400FE104u)
#define CLOCK_GATES_2 REGISTER(0x400FE108u)
#define PORT_A_ALTERNATE REGISTER(0x40004420u)
#define PORT_A_DIGITAL REGISTER(0x4000451Cu)

#define LDO_2_75_V 0x1Bu
#define PLL_LOCKED (1u << 6)
#define DIVIDE_BY(count) ((uint32_t)((count) - 1) << 23)
#define USE_DIVIDER (1u << 22)
#define PLL_OFF (1u << 13)
#define PLL_BYPASSED (1u << 11)
#define CRYSTAL_8_MHZ (14u << 6)
#define FROM_INTERNAL (1u << 4)
#define GATE_WATCHDOG (1u << 3)
#define GATE_UART0 (1u << 0)
#define GATE_PORT_A (1u << 0)
#define UART_PINS 3u // PA0, PA1

struct uart {
    volatile uint32_t data;
    volatile uint32_t unused_0[5];
    volatile uint32_t flags;
    volatile uint32_t unused_1[2];
    volatile uint32_t divider;
    volatile uint32_t divider_64ths;
    volatile uint32_t line;
    volatile uint32_t control;
    volatile uint32_t fifo_levels;
    volatile uint32_t interrupts;
    volatile uint32_t raw_interrupts;
    volatile uint32_t masked_interrupts;
    volatile uint32_t clear_interrupts;
};

#define UART0 ((struct uart *)0x4000C000u)
enum { UART0_INTERRUPT = 5 };
enum { RECEIVE_EMPTY = 1 << 4, SEND_FULL = 1 << 5 };
enum { FIFOS = 1 << 4, EIGHT_BITS = 3 << 5 };
enum { UART_ON = 1 << 0, SENDER_ON = 1 << 8, RECEIVER_ON = 1 << 9 };
// Of the receiver: FIFO half full, bytes left in it and the line idle, overrun.
enum { ON_RECEIVED = 1 << 4, ON_IDLE = 1 << 6, ON_OVERRUN = 1 << 10 };

struct watchdog {
    volatile uint32_t load;
    volatile uint32_t value;
    volatile uint32_t control;
};

#define WATCHDOG ((struct watchdog *)0x40000000u)
enum { WATCHDOG_COUNTS = 1 << 0 };

// First entry of the table where a debugger finds the core's parts (Cortex-M3 technical reference
// manual, "ROM table"). QEMU has none: 0.
#define ROM_TABLE REGISTER(0xE00FF000u)

#define CLOCK_HZ 50000000u
#define DIVIDER_64THS ((CLOCK_HZ * 4 + CUTLAYER_BAUD / 2) / CUTLAYER_BAUD)
#if 50000000 / 16 < CUTLAYER_BAUD
#error "cutlayer.baud of the board's JSON is more than a sixteenth of the clock of 50 MHz"
#endif

// The internal oscillator is off by up to 30 percent, too much for a UART: 50 MHz are a quarter of
// the PLL's 200 MHz, which follows the board's crystal. QEMU locks the PLL too.
static void start_clock(void)
{
    LDO_POWER = LDO_2_75_V; // chips of revision A2 run the PLL reliably with no less
    uint32_t source = PLL_BYPASSED | CRYSTAL_8_MHZ | DIVIDE_BY(4) | USE_DIVIDER;
    RUN_CLOCK = source | PLL_OFF | FROM_INTERNAL;
    // Nothing tells when the crystal is up; at 3 MHz this is more than 50 ms.
    for (volatile uint32_t left = 30000; left > 0; --left) {
    }
    RUN_CLOCK = source;
    while (!(RAW_INTERRUPTS & PLL_LOCKED)) {
    }
    RUN_CLOCK = source & ~PLL_BYPASSED;
}

void chip_open(struct chip *chip)
{
    start_clock();
    CLOCK_GATES_0 |= GATE_WATCHDOG;
    CLOCK_GATES_1 |= GATE_UART0;
    CLOCK_GATES_2 |= GATE_PORT_A;
    (void)CLOCK_GATES_2; // a gate takes three cycles to open
    (void)CLOCK_GATES_2;
    PORT_A_ALTERNATE |= UART_PINS;
    PORT_A_DIGITAL |= UART_PINS;
    UART0->control = 0;
    UART0->divider = DIVIDER_64THS / 64;
    UART0->divider_64ths = DIVIDER_64THS % 64;
    UART0->line = EIGHT_BITS | FIFOS;
    UART0->interrupts = ON_RECEIVED | ON_IDLE | ON_OVERRUN;
    UART0->control = UART_ON | SENDER_ON | RECEIVER_ON;
    cortex_m_enable_interrupt(UART0_INTERRUPT);
    // The only 32-bit counter that both the chip and QEMU let a program read. It is not told to
    // reset the chip, and its interrupt stays off in the NVIC.
    WATCHDOG->load = 0xFFFFFFFFu;
    WATCHDOG->control = WATCHDOG_COUNTS;
    chip->ticks_per_ms = CLOCK_HZ / 1000;
    chip->systicks_per_ms = CLOCK_HZ / 1000;
    chip->has_semihosting = ROM_TABLE == 0;
}

uint32_t chip_ticks(void)
{
    return ~WATCHDOG->value; // it counts down
}

int32_t chip_write(const uint8_t *data, uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count && !(UART0->flags & SEND_FULL)) {
        UART0->data = data[taken++];
    }
    return (int32_t)taken;
}

// The cause goes first: a byte that arrives behind the last look interrupts anew.
void chip_interrupt(void)
{
    UART0->clear_interrupts = ON_RECEIVED | ON_IDLE | ON_OVERRUN;
    while (!(UART0->flags & RECEIVE_EMPTY)) {
        cortex_m_received((uint8_t)UART0->data);
    }
}
