// The two stand-ins, and what a test asks of them: a microphone that hears 0, 1, 2, ...
#include <string.h>

#include <algorithm>

#include "ESP_I2S.h"
#include "PDM.h"
#include "parts.h"

#include "cutlayer/microphone.h"

static void (*receive)();
static int32_t next_sample;
static uint32_t waiting; // samples that nobody has taken
static uint32_t clock_ms;
static bool runs;
PDMClass PDM;

uint32_t millis()
{
    return clock_ms;
}

static bool begin(bool is_right)
{
    runs = is_right;
    next_sample = 0;
    waiting = 0;
    return runs;
}

int PDMClass::begin(int channels, int sampleRate)
{
    return ::begin(channels == 1 && sampleRate == 16000);
}

void PDMClass::end()
{
    runs = false;
}

int PDMClass::available()
{
    return static_cast<int>(waiting * 2);
}

int PDMClass::read(void *buffer, size_t size)
{
    const uint32_t count = std::min(waiting, static_cast<uint32_t>(size / 2));
    for (uint32_t i = 0; i < count; ++i) {
        static_cast<int16_t *>(buffer)[i] = static_cast<int16_t>(next_sample++);
    }
    waiting -= count;
    return static_cast<int>(count * 2);
}

void PDMClass::onReceive(void (*function)(void))
{
    receive = function;
}

void I2SClass::setPins(int8_t, int8_t, int8_t, int8_t, int8_t)
{
}

bool I2SClass::begin(i2s_mode_t, uint32_t rate, i2s_data_bit_width_t bits, i2s_slot_mode_t channels,
                     int8_t)
{
    return ::begin(rate == 16000 && bits == I2S_DATA_BIT_WIDTH_32BIT &&
                   channels == I2S_SLOT_MODE_MONO);
}

bool I2SClass::end()
{
    runs = false;
    return true;
}

i2s_chan_handle_t I2SClass::rxChan()
{
    return 0;
}

// 24 bits at the top of 32, of which the port takes those from 14 on.
esp_err_t i2s_channel_read(i2s_chan_handle_t, void *dest, size_t size, size_t *bytes_read, uint32_t)
{
    const uint32_t count = std::min(waiting, static_cast<uint32_t>(size / 4));
    for (uint32_t i = 0; i < count; ++i) {
        static_cast<int32_t *>(dest)[i] = next_sample * (1 << 14) + 255;
        next_sample++;
    }
    waiting -= count;
    *bytes_read = count * 4;
    if (!runs) {
        return ESP_ERR_INVALID_STATE;
    }
    return count * 4 == size ? ESP_OK : ESP_ERR_TIMEOUT;
}

extern "C" {
int32_t fake_start();
int32_t fake_read(int16_t *samples, uint32_t count);
void fake_stop();
void fake_hear(uint32_t count, int32_t first);
void fake_pass(uint32_t ms);

int32_t fake_start()
{
    const struct cl_microphone *microphone = microphone_open();
    return microphone->start(microphone->context);
}

int32_t fake_read(int16_t *samples, uint32_t count)
{
    const struct cl_microphone *microphone = microphone_open();
    return microphone->read(microphone->context, samples, count);
}

void fake_stop()
{
    const struct cl_microphone *microphone = microphone_open();
    microphone->stop(microphone->context);
}

// `count` samples more, from `first` on when that is not negative; the library calls when it has
// 256.
void fake_hear(uint32_t count, int32_t first)
{
    if (first >= 0) {
        next_sample = first;
    }
    while (count > 0) {
        const uint32_t part = std::min(count, static_cast<uint32_t>(256));
        waiting += part;
        count -= part;
        if (receive) {
            receive();
        }
    }
}

void fake_pass(uint32_t ms)
{
    clock_ms += ms;
}
}
