#include "nordic_uart.h"

#define ATT_HEADER_BYTES 3u

int32_t nordic_uart_init(struct nordic_uart *uart)
{
    if (!uart->notify || !uart->ring || uart->ring_bytes == 0 ||
        (uart->ring_bytes & (uart->ring_bytes - 1u)) != 0) {
        return CL_ERROR_ARGUMENT;
    }
    uart->mtu = NORDIC_UART_MTU_MIN;
    uart->lost = 0;
    uart->ring_begin = 0;
    uart->ring_end = 0;
    uart->lost_bytes = 0;
    return CL_OK;
}

uint32_t nordic_uart_waiting(const struct nordic_uart *uart)
{
    return uart->ring_end - uart->ring_begin;
}

void nordic_uart_receive(struct nordic_uart *uart, const uint8_t *value, uint32_t count)
{
    uint32_t end = uart->ring_end;
    uint32_t room = uart->ring_bytes - (end - uart->ring_begin);
    uint32_t taken = count < room ? count : room;
    for (uint32_t i = 0; i < taken; ++i) {
        uart->ring[(end + i) & (uart->ring_bytes - 1u)] = value[i];
    }
    uart->ring_end = end + taken;
    uart->lost_bytes += count - taken;
}

void nordic_uart_disconnected(struct nordic_uart *uart)
{
    uart->mtu = NORDIC_UART_MTU_MIN;
    uart->lost = 1;
}

int32_t nordic_uart_read(struct nordic_uart *uart, uint8_t *data, uint32_t capacity)
{
    uint32_t begin = uart->ring_begin;
    uint32_t count = uart->ring_end - begin;
    if (count == 0 && uart->lost) {
        uart->lost = 0;
        return NORDIC_UART_LOST;
    }
    if (count > capacity) {
        count = capacity;
    }
    for (uint32_t i = 0; i < count; ++i) {
        data[i] = uart->ring[(begin + i) & (uart->ring_bytes - 1u)];
    }
    uart->ring_begin = begin + count;
    return (int32_t)count;
}

static uint32_t value_bytes(const struct nordic_uart *uart)
{
    uint32_t mtu = uart->mtu > NORDIC_UART_MTU_MIN ? uart->mtu : NORDIC_UART_MTU_MIN;
    uint32_t bytes = mtu - ATT_HEADER_BYTES;
    return bytes < NORDIC_UART_VALUE_MAX ? bytes : NORDIC_UART_VALUE_MAX;
}

int32_t nordic_uart_write(struct nordic_uart *uart, const uint8_t *data, uint32_t count)
{
    uint32_t sent = 0;
    while (sent < count) {
        uint32_t most = value_bytes(uart);
        uint32_t left = count - sent;
        int32_t taken = uart->notify(uart->context, data + sent, left < most ? left : most);
        if (taken < 0) {
            // What went before is gone with the link; the node sends it again.
            return taken;
        }
        if (taken == 0) {
            break;
        }
        sent += (uint32_t)taken;
    }
    return (int32_t)sent;
}
