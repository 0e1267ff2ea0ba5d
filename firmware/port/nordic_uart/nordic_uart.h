// The board's end of the Nordic UART Service as a byte pipe, for any Bluetooth stack: a ring of
// what the host writes, and the cutting of what goes out into notifications. It calls no stack by
// itself.
#ifndef NORDIC_UART_H
#define NORDIC_UART_H

#include "cutlayer/error.h"

#define NORDIC_UART_SERVICE "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
#define NORDIC_UART_RX "6e400002-b5a3-f393-e0a9-e50e24dcca9e" // the host writes, without response
#define NORDIC_UART_TX "6e400003-b5a3-f393-e0a9-e50e24dcca9e" // the board notifies

#define NORDIC_UART_MTU_MIN 23u // before the host has asked for more
#define NORDIC_UART_MTU_MAX 247u
#define NORDIC_UART_VALUE_MAX 244u // bytes of a notification: one packet on the air

#define NORDIC_UART_LOST (CL_ERROR_PORT - 1)

struct nordic_uart {
    // Set before nordic_uart_init.

    // Hands `count` bytes, 1 to min(mtu - 3, NORDIC_UART_VALUE_MAX), to the stack as one
    // notification. Returns the bytes that it took: 0 when it has no room or nobody listens (they
    // are offered again), fewer where its MTU is smaller than `mtu` says; negative when the link is
    // lost.
    int32_t (*notify)(void *context, const uint8_t *value, uint32_t count);
    void *context;
    uint8_t *ring;
    uint32_t ring_bytes; // a power of 2; the port's receive_bytes

    // The rest is nordic_uart's own; a stack that knows the connection's MTU sets `mtu` when it
    // changes.
    uint16_t mtu;
    volatile uint8_t lost;
    volatile uint32_t ring_begin; // indices run freely: only nordic_uart_read writes this one,
    volatile uint32_t ring_end;   // and only nordic_uart_receive that one
    uint32_t
        lost_bytes; // that came when the ring was full: a host that minds its credit sends none
};

// Prepares a pipe that nobody has connected to. Returns 0 or CL_ERROR_ARGUMENT.
int32_t nordic_uart_init(struct nordic_uart *uart) CL_CHECK_RESULT;

// Takes what the host has written to RX; may run in an interrupt. What finds no room is lost.
void nordic_uart_receive(struct nordic_uart *uart, const uint8_t *value, uint32_t count);

// The host has gone: the next read that finds the ring empty says so, once. The MTU is the least
// again.
void nordic_uart_disconnected(struct nordic_uart *uart);

// Bytes that wait to be read.
uint32_t nordic_uart_waiting(const struct nordic_uart *uart);

// As cl_port's read.
int32_t nordic_uart_read(struct nordic_uart *uart, uint8_t *data,
                         uint32_t capacity) CL_CHECK_RESULT;

// As cl_port's write: as many notifications as the stack takes. Returns the bytes taken.
int32_t nordic_uart_write(struct nordic_uart *uart, const uint8_t *data,
                          uint32_t count) CL_CHECK_RESULT;

#endif
