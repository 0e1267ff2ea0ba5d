// STM32F405 and F407 (ST RM0090) on the 16 MHz clock that they start with: nothing waits for a
// crystal or a PLL, which emulators lack. The link is, by STM32F4_USART,
//   1    USART1: transmits on PA9, receives on PA10
//   2    USART2: transmits on PA2, receives on PA3
#include "cortex_m/chip.h"
#include "stm32f4/rcc.h"

struct gpio {
    volatile uint32_t mode;
    volatile uint32_t type;
    volatile uint32_t speed;
    volatile uint32_t pull;
    volatile uint32_t unused[4];
    volatile uint32_t alternate[2];
};

struct usart {
    volatile uint32_t status;
    volatile uint32_t data;
    volatile uint32_t divider;
    volatile uint32_t control1;
};

struct timer {
    volatile uint32_t control1;
    uint32_t reserved0[4];
    volatile uint32_t event;
    uint32_t reserved1[3];
    volatile uint32_t count;
    volatile uint32_t prescaler;
    volatile uint32_t reload;
};

enum { HSI_READY = 1 << 1, ENABLE_GPIOA = 1 << 0, ENABLE_TIM2 = 1 << 0 };

#define GPIOA ((struct gpio *)0x40020000u)
enum { MODE_ALTERNATE = 2, PULL_UP = 1, ALTERNATE_USART = 7 };

#define TIM2 ((struct timer *)0x40000000u)

#if STM32F4_USART == 1
#define USART ((struct usart *)0x40011000u)
#define USART_ENABLE RCC->apb2_enable
enum { USART_ENABLE_BIT = 1 << 4, USART_IRQ = 37, TRANSMIT_PIN = 9 };
#else
#define USART ((struct usart *)0x40004400u)
#define USART_ENABLE RCC->apb1_enable
enum { USART_ENABLE_BIT = 1 << 17, USART_IRQ = 38, TRANSMIT_PIN = 2 };
#endif
enum { STATUS_OVERRUN = 1 << 3, STATUS_RECEIVED = 1 << 5, STATUS_TRANSMIT_EMPTY = 1 << 7 };
enum { CONTROL_ENABLE = 1 << 13, CONTROL_RECEIVE_INTERRUPT = 1 << 5 };
enum { CONTROL_TRANSMIT = 1 << 3, CONTROL_RECEIVE = 1 << 2 };

#define CLOCK_HZ 16000000u
#if 16000000 % CUTLAYER_BAUD
#error "cutlayer.baud of the board's JSON does not divide the clock of 16 MHz"
#endif

// QEMU has no RCC, so its ready flag reads 0. There SysTick counts 168 MHz and TIM2 1 GHz, whatever
// is written to RCC; divided by 64 a tick of TIM2 is an instruction under -icount shift=6.
#define QEMU_SYSTICKS_PER_MS 168000u
#define QEMU_DIVIDER 64u
#define QEMU_TICKS_PER_MS (1000000u / QEMU_DIVIDER)

static void open_pin(uint32_t pin)
{
    GPIOA->alternate[pin / 8] |= (uint32_t)ALTERNATE_USART << (4 * (pin % 8));
    GPIOA->pull |= (uint32_t)PULL_UP << (2 * pin);
    GPIOA->mode |= (uint32_t)MODE_ALTERNATE << (2 * pin);
}

void chip_open(struct chip *chip)
{
    uint8_t is_chip = (RCC->control & HSI_READY) != 0;
    chip->ticks_per_ms = is_chip ? CLOCK_HZ / 1000u : QEMU_TICKS_PER_MS;
    chip->systicks_per_ms = is_chip ? CLOCK_HZ / 1000u : QEMU_SYSTICKS_PER_MS;
    chip->has_semihosting = !is_chip;

    RCC->ahb1_enable |= ENABLE_GPIOA;
    RCC->apb1_enable |= ENABLE_TIM2;
    USART_ENABLE |= USART_ENABLE_BIT;
    (void)USART_ENABLE; // the clock needs two cycles to arrive

    TIM2->prescaler = is_chip ? 0 : QEMU_DIVIDER - 1;
    TIM2->reload = 0xFFFFFFFFu;
    TIM2->event = 1;
    TIM2->control1 = 1;

    open_pin(TRANSMIT_PIN);
    open_pin(TRANSMIT_PIN + 1);
    USART->divider = CLOCK_HZ / CUTLAYER_BAUD;
    USART->control1 =
        CONTROL_ENABLE | CONTROL_RECEIVE_INTERRUPT | CONTROL_TRANSMIT | CONTROL_RECEIVE;
    cortex_m_enable_interrupt(USART_IRQ);
}

uint32_t chip_ticks(void)
{
    return TIM2->count;
}

// An overrun interrupts too, until status and data have been read.
void chip_interrupt(void)
{
    uint32_t status;
    while ((status = USART->status) & (STATUS_RECEIVED | STATUS_OVERRUN)) {
        uint8_t byte = (uint8_t)USART->data;
        if (status & STATUS_RECEIVED) {
            cortex_m_received(byte);
        }
    }
}

int32_t chip_write(const uint8_t *data, uint32_t count)
{
    uint32_t sent = 0;
    while (sent < count && USART->status & STATUS_TRANSMIT_EMPTY) {
        USART->data = data[sent++];
    }
    return (int32_t)sent;
}
