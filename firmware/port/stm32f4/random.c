// The generator of random numbers of the STM32F405 and F407 (ST RM0090, section 24).
#include "cortex_m/chip.h"
#include "stm32f4/rcc.h"

struct generator {
    volatile uint32_t control;
    volatile uint32_t status;
    volatile uint32_t data;
};

// It runs on the PLL's 48 MHz: 16 MHz / 8 * 96 / 4.
#define GENERATOR ((struct generator *)0x50060800u)
#define PLL_48_MHZ ((4u << 24) | (96u << 6) | 8u)
enum { PLL_ON = 1 << 24, PLL_READY = 1 << 25, ENABLE_GENERATOR = 1 << 6 };
enum { GENERATOR_ON = 1 << 2, GENERATOR_READY = 1 << 0, GENERATOR_ERRORS = 3 << 1 };
#define READY_LOOKS 100000u // far more than a start or a word takes

static int32_t open_generator(void)
{
    RCC->pll = PLL_48_MHZ;
    RCC->control |= PLL_ON;
    for (uint32_t i = 0; i < READY_LOOKS; i++) {
        if (RCC->control & PLL_READY) {
            RCC->ahb2_enable |= ENABLE_GENERATOR;
            (void)RCC->ahb2_enable; // the clock needs two cycles to arrive
            GENERATOR->control = GENERATOR_ON;
            return CL_OK;
        }
    }
    return CL_ERROR_PORT;
}

// Returns a word, or the one before when the generator has none or found a fault in itself.
static uint32_t draw(uint32_t before)
{
    for (uint32_t i = 0; i < READY_LOOKS; i++) {
        uint32_t status = GENERATOR->status;
        if (status & GENERATOR_ERRORS) {
            return before;
        }
        if (status & GENERATOR_READY) {
            return GENERATOR->data;
        }
    }
    return before;
}

// RM0090, "RNG operation": the first word is for comparison only, and none comes twice in a row.
int32_t chip_random(uint8_t *data, uint32_t count)
{
    if (!(GENERATOR->control & GENERATOR_ON) && open_generator() < 0) {
        return CL_ERROR_PORT;
    }
    uint32_t before = draw(0);
    for (uint32_t i = 0; i < count; i += 4) {
        uint32_t word = draw(before);
        if (word == before) {
            return CL_ERROR_PORT;
        }
        for (uint32_t j = i; j < count && j < i + 4; j++) {
            data[j] = (uint8_t)(word >> (8 * (j - i)));
        }
        before = word;
    }
    return CL_OK;
}
