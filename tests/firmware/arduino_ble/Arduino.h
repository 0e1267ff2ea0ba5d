// Stands in for the Arduino core in test_link_ble.py.
#ifndef ARDUINO_H
#define ARDUINO_H
#include <stdint.h>
#endif
