// Stands in for the Arduino core in test_arduino_microphones.py.
#ifndef ARDUINO_H
#define ARDUINO_H
#include <stddef.h>
#include <stdint.h>
uint32_t millis();
#endif
