// An I2S microphone (INMP441, ICS-43434, ...) on an ESP32-S3, by the ESP_I2S library of its core.
// Not built where cutlayer is tested: PlatformIO fetches core and library for who has the board.
#include "parts.h"

#include <ESP_I2S.h>

#include "cutlayer/microphone.h"

// Where the ESP32-S3-EYE has its microphone; another board sets its own in its .ini.
#ifndef CUTLAYER_I2S_CLOCK
#define CUTLAYER_I2S_CLOCK 41
#define CUTLAYER_I2S_SELECT 42
#define CUTLAYER_I2S_DATA 2
#endif

// Such microphones give 24 bits at the top of 32, and speech uses few of them.
#ifndef CUTLAYER_I2S_SHIFT
#define CUTLAYER_I2S_SHIFT 14
#endif

#define SAMPLES_PER_MS 16u
#define SAMPLE_RATE_HZ (SAMPLES_PER_MS * 1000u)
#define BUFFERED_MS 80u   // the library's DMA holds 6 times 240 samples: 90 ms
#define PIECE_SAMPLES 64u // at a time, on the stack

static I2SClass i2s;
static uint32_t start_ms;
static uint32_t samples_read;

static int32_t start(void *)
{
    (void)i2s.end();
    i2s.setPins(CUTLAYER_I2S_CLOCK, CUTLAYER_I2S_SELECT, -1, CUTLAYER_I2S_DATA);
    start_ms = millis();
    samples_read = 0;
    const bool runs =
        i2s.begin(I2S_MODE_STD, SAMPLE_RATE_HZ, I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO);
    return runs ? CL_OK : CL_ERROR_SENSOR;
}

static int16_t narrowed(int32_t word)
{
    const int32_t value = word >> CUTLAYER_I2S_SHIFT;
    return static_cast<int16_t>(value > INT16_MAX   ? INT16_MAX
                                : value < INT16_MIN ? INT16_MIN
                                                    : value);
}

// The driver drops the oldest samples without a word: the clock tells.
static int32_t read(void *, int16_t *samples, uint32_t count)
{
    int32_t words[PIECE_SAMPLES];
    if (millis() - start_ms > samples_read / SAMPLES_PER_MS + BUFFERED_MS) {
        return CL_ERROR_SENSOR;
    }
    size_t bytes = 0;
    const uint32_t most = count < PIECE_SAMPLES ? count : PIECE_SAMPLES;
    const esp_err_t result =
        i2s_channel_read(i2s.rxChan(), words, most * sizeof words[0], &bytes, 0);
    if (result != ESP_OK && result != ESP_ERR_TIMEOUT) {
        return CL_ERROR_SENSOR;
    }
    const uint32_t heard = static_cast<uint32_t>(bytes / sizeof words[0]);
    for (uint32_t i = 0; i < heard; ++i) {
        samples[i] = narrowed(words[i]);
    }
    samples_read += heard;
    return static_cast<int32_t>(heard);
}

static void stop(void *)
{
    (void)i2s.end();
}

static const struct cl_microphone microphone = {0, start, read, stop};

const struct cl_microphone *microphone_open()
{
    return &microphone;
}
