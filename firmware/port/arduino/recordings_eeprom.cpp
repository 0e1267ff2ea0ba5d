// Recordings in the EEPROM of an AVR, written there with the firmware (avrdude -U eeprom:w:FILE):
//
//   0  u16  bytes of all recordings, 0xFFFF: none
//   2  u16  labels
//   4       the recordings, then a byte for each label (255: none)
#include "parts.h"

#include <avr/eeprom.h>

#include "cutlayer/sensor.h"

#define HEADER_BYTES 4u
#define CAPACITY (E2END + 1u)
enum { NO_LABEL = 255 };

static uint16_t recording_bytes;
static uint16_t label_count;

static uint8_t *place(uint32_t offset)
{
    return reinterpret_cast<uint8_t *>(static_cast<uintptr_t>(HEADER_BYTES + offset));
}

static int32_t read(void *, uint32_t offset, void *data, uint32_t count)
{
    const uint32_t left = offset < recording_bytes ? recording_bytes - offset : 0;
    const uint32_t most = count < left ? count : left;
    eeprom_read_block(data, place(offset), static_cast<size_t>(most));
    return static_cast<int32_t>(most);
}

static int32_t label(void *, uint32_t recording)
{
    if (recording >= label_count) {
        return CL_LABEL_NONE;
    }
    const uint8_t value = eeprom_read_byte(place(recording_bytes + recording));
    return value == NO_LABEL ? CL_LABEL_NONE : value;
}

void recordings_open(struct cl_recordings *recordings)
{
    recording_bytes = eeprom_read_word(reinterpret_cast<const uint16_t *>(0));
    label_count = eeprom_read_word(reinterpret_cast<const uint16_t *>(2));
    if (uint32_t{HEADER_BYTES} + recording_bytes + label_count > CAPACITY) {
        recording_bytes = label_count = 0;
    }
    recordings->read = read;
    recordings->label = label;
    recordings->bytes = recording_bytes;
}
