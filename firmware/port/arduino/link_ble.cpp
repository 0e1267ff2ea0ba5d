// The link over Bluetooth LE, by ArduinoBLE: the Nordic UART Service (Nano 33 BLE, ESP32,
// Portenta). Not built where cutlayer is tested: what could be is in ../nordic_uart, and this file
// has run against a stand-in for the library only (tests/firmware/test_link_ble.py).
#include <ArduinoBLE.h>

#include "parts.h"

extern "C" {
#include "../nordic_uart/nordic_uart.h"
}

#ifndef CUTLAYER_BLE_NAME
#define CUTLAYER_BLE_NAME "cutlayer"
#endif

// Of its own, not the build's CL_NODE_RECEIVE_BYTES: the service's ring is a power of two.
#define RECEIVE_BYTES 4096u

// As long as a characteristic's value may be: the library cuts what is longer, without a word.
#define RX_BYTES 512

static BLEService service(NORDIC_UART_SERVICE);
static BLECharacteristic rx(NORDIC_UART_RX, BLEWrite | BLEWriteWithoutResponse, RX_BYTES);
static BLECharacteristic tx(NORDIC_UART_TX, BLENotify, NORDIC_UART_VALUE_MAX);
static uint8_t ring[RECEIVE_BYTES];
static struct nordic_uart uart;

// The library waits by itself while its controller is full. It cuts to the MTU, and says how much
// it took; without a subscriber it would keep the value for itself and say that it took all.
static int32_t notify(void *, const uint8_t *value, uint32_t count)
{
    if (!BLE.connected() || !tx.subscribed()) {
        return 0;
    }
    return tx.writeValue(value, static_cast<int>(count));
}

// Called for every write, from BLE.poll() and while the library waits in writeValue.
static void on_written(BLEDevice, BLECharacteristic characteristic)
{
    nordic_uart_receive(&uart, characteristic.value(),
                        static_cast<uint32_t>(characteristic.valueLength()));
}

static void on_connected(BLEDevice)
{
    uart.mtu = NORDIC_UART_MTU_MAX; // the library knows it, and tells nobody
}

static void on_disconnected(BLEDevice)
{
    nordic_uart_disconnected(&uart);
}

static int32_t link_read(void *context, uint8_t *data, uint32_t capacity)
{
    BLE.poll();
    return nordic_uart_read(static_cast<struct nordic_uart *>(context), data, capacity);
}

static int32_t link_write(void *context, const uint8_t *data, uint32_t count)
{
    return nordic_uart_write(static_cast<struct nordic_uart *>(context), data, count);
}

bool link_waits()
{
    BLE.poll();
    return nordic_uart_waiting(&uart) > 0 || uart.lost;
}

int32_t link_open(struct cl_port *port)
{
    uart.notify = notify;
    uart.ring = ring;
    uart.ring_bytes = sizeof ring;
    const int32_t result = nordic_uart_init(&uart);
    if (result < 0) {
        return result;
    }
    if (!BLE.begin()) {
        return CL_ERROR_PORT;
    }
    BLE.setDeviceName(CUTLAYER_BLE_NAME);
    BLE.setLocalName(CUTLAYER_BLE_NAME);
    BLE.setAdvertisedService(service);
    service.addCharacteristic(rx);
    service.addCharacteristic(tx);
    rx.setEventHandler(BLEWritten, on_written);
    BLE.setEventHandler(BLEConnected, on_connected);
    BLE.setEventHandler(BLEDisconnected, on_disconnected);
    BLE.addService(service);
    if (!BLE.advertise()) {
        return CL_ERROR_PORT;
    }
    port->context = &uart;
    port->read = link_read;
    port->write = link_write;
    port->receive_bytes = RECEIVE_BYTES;
    return CL_OK;
}
