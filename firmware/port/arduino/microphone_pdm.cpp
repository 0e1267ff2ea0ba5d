// The PDM microphone of the Nano 33 BLE Sense, by the PDM library of Arduino's mbed core.
// Not built where cutlayer is tested: PlatformIO fetches core and library for who has the board.
#include "parts.h"

#include <PDM.h>

#include "cutlayer/microphone.h"

#define SAMPLE_RATE_HZ 16000
#define RING_SAMPLES 4096u // 256 ms
#define TAKEN_SAMPLES 256  // what the library hands over at a time

// Indices run freely; the interrupt writes only `ring_end`, the program only `ring_begin`.
static int16_t ring[RING_SAMPLES];
static volatile uint32_t ring_begin, ring_end;
static volatile bool is_lost;

// Called by the library's interrupt. It stops for good when nobody takes what it has.
static void take()
{
    int16_t samples[TAKEN_SAMPLES];
    const int bytes = PDM.read(samples, sizeof samples);
    const uint32_t count = bytes > 0 ? static_cast<uint32_t>(bytes) / sizeof samples[0] : 0;
    uint32_t end = ring_end;
    for (uint32_t i = 0; i < count; ++i) {
        if (end - ring_begin == RING_SAMPLES) {
            is_lost = true;
            break;
        }
        ring[end++ % RING_SAMPLES] = samples[i];
    }
    ring_end = end;
}

static void stop(void *)
{
    PDM.end();
}

static int32_t start(void *)
{
    stop(0);
    ring_begin = ring_end = 0;
    is_lost = false;
    PDM.onReceive(take);
    return PDM.begin(1, SAMPLE_RATE_HZ) ? CL_OK : CL_ERROR_SENSOR;
}

static int32_t read(void *, int16_t *samples, uint32_t count)
{
    if (is_lost) {
        return CL_ERROR_SENSOR;
    }
    const uint32_t begin = ring_begin;
    const uint32_t heard = ring_end - begin;
    const uint32_t most = count < heard ? count : heard;
    for (uint32_t i = 0; i < most; ++i) {
        samples[i] = ring[(begin + i) % RING_SAMPLES];
    }
    ring_begin = begin + most;
    return static_cast<int32_t>(most);
}

static const struct cl_microphone microphone = {0, start, read, stop};

const struct cl_microphone *microphone_open()
{
    return &microphone;
}
