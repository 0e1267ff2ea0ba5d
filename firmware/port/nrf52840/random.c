// The generator of random numbers of the nRF51 and nRF52 (Nordic PS 1.7, section 6.19; RM 3.0).
#include "cortex_m/chip.h"

struct generator {
    volatile uint32_t start;
    volatile uint32_t stop;
    uint32_t reserved0[62];
    volatile uint32_t ready;
    uint32_t reserved1[256];
    volatile uint32_t config;
    volatile uint32_t value;
};

#define GENERATOR ((struct generator *)0x4000D000u)
enum { CORRECT_BIAS = 1 };
#define READY_LOOKS 100000u // far more than the 120 us that a byte takes

static int32_t draw(uint8_t *byte)
{
    for (uint32_t i = 0; i < READY_LOOKS; i++) {
        if (GENERATOR->ready) {
            GENERATOR->ready = 0;
            *byte = (uint8_t)GENERATOR->value;
            return CL_OK;
        }
    }
    return CL_ERROR_PORT;
}

int32_t chip_random(uint8_t *data, uint32_t count)
{
    int32_t result = CL_OK;
    GENERATOR->config = CORRECT_BIAS;
    GENERATOR->ready = 0;
    GENERATOR->start = 1;
    for (uint32_t i = 0; i < count && result == CL_OK; i++) {
        result = draw(data + i);
    }
    GENERATOR->stop = 1;
    return result;
}
