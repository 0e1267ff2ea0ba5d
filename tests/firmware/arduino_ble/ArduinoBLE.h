// Stands in for ArduinoBLE in test_link_ble.py: as much of its interface as link_ble.cpp uses,
// behaving as the library's 2.0.1 does by its source. The library itself is not here: this proves
// link_ble.cpp's own logic and nothing about a radio.
#ifndef ARDUINO_BLE_H
#define ARDUINO_BLE_H

#include "Arduino.h"

enum { BLEWriteWithoutResponse = 4, BLEWrite = 8, BLENotify = 16 };
enum BLEDeviceEvent { BLEConnected = 0, BLEDisconnected = 1 };
enum BLECharacteristicEvent { BLEWritten = 3 };

class BLEDevice
{
};

class BLECharacteristic;
typedef void (*BLEDeviceEventHandler)(BLEDevice device);
typedef void (*BLECharacteristicEventHandler)(BLEDevice device, BLECharacteristic characteristic);

struct FakeCharacteristic {
    const char *uuid;
    uint16_t permissions;
    int value_size;
    int length;
    uint8_t value[512];
    BLECharacteristicEventHandler written;
};

// A handle, as the library's: copies mean the same characteristic.
class BLECharacteristic
{
  public:
    BLECharacteristic(const char *uuid, uint16_t permissions, int valueSize);
    const uint8_t *value() const;
    int valueLength() const;
    int writeValue(const uint8_t value[], int length);
    bool subscribed();
    void setEventHandler(int event, BLECharacteristicEventHandler handler);
    FakeCharacteristic *local;
};

class BLEService
{
  public:
    explicit BLEService(const char *uuid);
    void addCharacteristic(BLECharacteristic &characteristic);
    const char *uuid;
};

class BLELocalDevice
{
  public:
    int begin();
    void poll();
    bool connected() const;
    bool setLocalName(const char *name);
    void setDeviceName(const char *name);
    bool setAdvertisedService(const BLEService &service);
    void addService(BLEService &service);
    int advertise();
    void setEventHandler(BLEDeviceEvent event, BLEDeviceEventHandler handler);
};

extern BLELocalDevice &BLE;

#endif
