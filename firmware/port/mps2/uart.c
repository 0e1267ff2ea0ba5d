// CMSDK UART 0: the link. It holds one byte each way, so that received bytes go to a ring by
// interrupt.
#include "mps2.h"

struct uart {
    volatile uint32_t data;
    volatile uint32_t state;
    volatile uint32_t control;
    volatile uint32_t interrupt;
    volatile uint32_t divider;
};

#define UART ((struct uart *)0x40004000u)
enum { STATE_TRANSMIT_FULL = 1, STATE_RECEIVE_FULL = 2 };
enum { CONTROL_TRANSMIT = 1, CONTROL_RECEIVE = 2, CONTROL_RECEIVE_INTERRUPT = 8 };
enum { INTERRUPT_RECEIVE = 2 };

#define BAUD 921600u

// Indices run freely; the interrupt writes only `end`, the program only `begin`.
static uint8_t ring[MPS2_RECEIVE_BYTES];
static volatile uint32_t ring_begin, ring_end;

void mps2_uart_open(void)
{
    UART->divider = MPS2_CLOCK_HZ / BAUD;
    UART->control = CONTROL_TRANSMIT | CONTROL_RECEIVE | CONTROL_RECEIVE_INTERRUPT;
    (void)UART->data; // what came before now; QEMU also takes it as "send me what waits"
    mps2_enable_interrupt(MPS2_IRQ_UART0_RECEIVE);
}

// What does not fit the ring is lost, as on a real board.
void mps2_uart_receive_handler(void)
{
    UART->interrupt = INTERRUPT_RECEIVE;
    while (UART->state & STATE_RECEIVE_FULL) {
        uint8_t byte = (uint8_t)UART->data;
        uint32_t end = ring_end;
        if (end - ring_begin < MPS2_RECEIVE_BYTES) {
            ring[end % MPS2_RECEIVE_BYTES] = byte;
            ring_end = end + 1;
        }
    }
}

uint32_t mps2_uart_waiting(void)
{
    return ring_end - ring_begin;
}

int32_t mps2_uart_read(uint8_t *data, uint32_t capacity)
{
    uint32_t begin = ring_begin;
    uint32_t count = ring_end - begin;
    if (count > capacity) {
        count = capacity;
    }
    for (uint32_t i = 0; i < count; ++i) {
        data[i] = ring[(begin + i) % MPS2_RECEIVE_BYTES];
    }
    ring_begin = begin + count;
    return (int32_t)count;
}

int32_t mps2_uart_write(const uint8_t *data, uint32_t count)
{
    uint32_t sent = 0;
    while (sent < count && !(UART->state & STATE_TRANSMIT_FULL)) {
        UART->data = data[sent++];
    }
    return (int32_t)sent;
}
