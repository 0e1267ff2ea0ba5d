// The stand-in for ArduinoBLE, and a host that a test commands. What the host does reaches the
// board in BLE.poll(), which the library also calls while writeValue waits for its controller.
#include "ArduinoBLE.h"

#include <string.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "parts.h"

enum { CONNECT, DISCONNECT, SUBSCRIBE, WRITE };

struct Event {
    int kind;
    std::string value;
};

static std::deque<Event> events;
static std::vector<FakeCharacteristic *> characteristics;
static std::string notified;
static int longest;
static int peer_mtu;
static bool is_connected, is_subscribed, advertises;
static std::string advertised, name;
static BLEDeviceEventHandler handlers[2];
static BLELocalDevice device;
static struct cl_port port;
BLELocalDevice &BLE = device;

static FakeCharacteristic *find(uint16_t permission)
{
    for (FakeCharacteristic *one : characteristics) {
        if (one->permissions & permission) {
            return one;
        }
    }
    return 0;
}

BLECharacteristic::BLECharacteristic(const char *uuid, uint16_t permissions, int valueSize)
    : local(new FakeCharacteristic())
{
    local->uuid = uuid;
    local->permissions = permissions;
    local->value_size = std::min(valueSize, 512);
}

const uint8_t *BLECharacteristic::value() const
{
    return local->value;
}

int BLECharacteristic::valueLength() const
{
    return local->length;
}

int BLECharacteristic::writeValue(const uint8_t value[], int length)
{
    local->length = std::min(length, local->value_size);
    memcpy(local->value, value, static_cast<size_t>(local->length));
    if (!is_subscribed) {
        return local->length; // kept, sent to nobody
    }
    BLE.poll(); // the controller was full
    if (!is_connected) {
        return 0;
    }
    const int sent = std::min(local->length, peer_mtu - 3);
    notified.append(reinterpret_cast<const char *>(value), static_cast<size_t>(sent));
    longest = std::max(longest, sent);
    return sent;
}

bool BLECharacteristic::subscribed()
{
    return is_subscribed;
}

void BLECharacteristic::setEventHandler(int, BLECharacteristicEventHandler handler)
{
    local->written = handler;
}

BLEService::BLEService(const char *given) : uuid(given)
{
}

void BLEService::addCharacteristic(BLECharacteristic &characteristic)
{
    characteristics.push_back(characteristic.local);
}

int BLELocalDevice::begin()
{
    return 1;
}

void BLELocalDevice::poll()
{
    while (!events.empty()) {
        const Event event = events.front();
        events.pop_front();
        if (event.kind == CONNECT) {
            is_connected = true;
            handlers[BLEConnected](BLEDevice());
        } else if (event.kind == DISCONNECT) {
            is_connected = is_subscribed = false;
            handlers[BLEDisconnected](BLEDevice());
        } else if (event.kind == SUBSCRIBE) {
            is_subscribed = true;
        } else {
            FakeCharacteristic *rx = find(BLEWriteWithoutResponse);
            rx->length = std::min(static_cast<int>(event.value.size()), rx->value_size);
            memcpy(rx->value, event.value.data(), static_cast<size_t>(rx->length));
            BLECharacteristic handle("", 0, 0);
            delete handle.local;
            handle.local = rx;
            rx->written(BLEDevice(), handle);
        }
    }
}

bool BLELocalDevice::connected() const
{
    device.poll();
    return is_connected;
}

bool BLELocalDevice::setLocalName(const char *given)
{
    name = given;
    return true;
}

void BLELocalDevice::setDeviceName(const char *)
{
}

bool BLELocalDevice::setAdvertisedService(const BLEService &service)
{
    advertised = service.uuid;
    return true;
}

void BLELocalDevice::addService(BLEService &)
{
}

int BLELocalDevice::advertise()
{
    advertises = true;
    return 1;
}

void BLELocalDevice::setEventHandler(BLEDeviceEvent event, BLEDeviceEventHandler handler)
{
    handlers[event] = handler;
}

extern "C" {
int32_t fake_open(void);
void fake_event(int kind, const char *value, int32_t count, int mtu);
int32_t fake_read(uint8_t *data, uint32_t capacity);
int32_t fake_write(const uint8_t *data, uint32_t count);
int fake_waits(void);
int32_t fake_notified(uint8_t *data);
int fake_longest(void);
const char *fake_advertised(void);
const char *fake_name(void);
uint32_t fake_receive_bytes(void);

int32_t fake_open(void)
{
    const int32_t result = link_open(&port);
    return result < 0 ? result : advertises;
}

void fake_event(int kind, const char *value, int32_t count, int mtu)
{
    if (kind == CONNECT) {
        peer_mtu = mtu;
    }
    events.push_back({kind, std::string(value, static_cast<size_t>(count))});
}

int32_t fake_read(uint8_t *data, uint32_t capacity)
{
    return port.read(port.context, data, capacity);
}

int32_t fake_write(const uint8_t *data, uint32_t count)
{
    return port.write(port.context, data, count);
}

int fake_waits(void)
{
    return link_waits();
}

int32_t fake_notified(uint8_t *data)
{
    memcpy(data, notified.data(), notified.size());
    const int32_t count = static_cast<int32_t>(notified.size());
    notified.clear();
    return count;
}

int fake_longest(void)
{
    return longest;
}

const char *fake_advertised(void)
{
    return advertised.c_str();
}

const char *fake_name(void)
{
    return name.c_str();
}

uint32_t fake_receive_bytes(void)
{
    return port.receive_bytes;
}
}
