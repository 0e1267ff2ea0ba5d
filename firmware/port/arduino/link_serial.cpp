// The link over Serial: a UART, or USB's serial port.
#include "parts.h"

extern "C" {
#include "cutlayer/node.h"
}

// Of an AVR's UART the core's ring, of which one byte stays empty. USB keeps the host waiting, and
// other UARTs get a ring of this size.
#if defined(SERIAL_RX_BUFFER_SIZE)
#define RECEIVE_BYTES (SERIAL_RX_BUFFER_SIZE - 1u)
#else
#define RECEIVE_BYTES CL_NODE_RECEIVE_BYTES
#endif

static int next_byte()
{
#if defined(SERIAL_RX_BUFFER_SIZE) && SERIAL_RX_BUFFER_SIZE > 256
    // The ring's places have 16 bits, which an AVR does not read and write in one piece.
    noInterrupts();
    const int byte = Serial.read();
    interrupts();
    return byte;
#else
    return Serial.read();
#endif
}

static int32_t link_read(void *, uint8_t *data, uint32_t capacity)
{
    uint32_t count = 0;
    while (count < capacity) {
        const int byte = next_byte();
        if (byte < 0) {
            break;
        }
        data[count++] = static_cast<uint8_t>(byte);
    }
    return static_cast<int32_t>(count);
}

#if defined(ARDUINO_ARCH_MBED)
// The core's write waits for the host to read, and it does not say how much it would take.
static int32_t link_write(void *, const uint8_t *data, uint32_t count)
{
    uint32_t taken = 0;
    Serial.send_nb(const_cast<uint8_t *>(data), count, &taken);
    return static_cast<int32_t>(taken);
}
#else
static int32_t link_write(void *, const uint8_t *data, uint32_t count)
{
    const int room = Serial.availableForWrite();
    if (room <= 0) {
        return 0;
    }
    const uint32_t most = static_cast<uint32_t>(room);
    return static_cast<int32_t>(
        Serial.write(data, static_cast<size_t>(count < most ? count : most)));
}
#endif

bool link_waits()
{
    return Serial.available() > 0;
}

int32_t link_open(struct cl_port *port)
{
#if defined(ARDUINO_ARCH_ESP32)
    Serial.setRxBufferSize(RECEIVE_BYTES);
#endif
    Serial.begin(CUTLAYER_BAUD); // USB has no pace
    port->read = link_read;
    port->write = link_write;
    port->receive_bytes = RECEIVE_BYTES;
    return CL_OK;
}
