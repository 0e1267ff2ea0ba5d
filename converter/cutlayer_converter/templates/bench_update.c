// The trainable layer on an emulated Cortex-M, for cutlayer_converter.measure_update: the layer of
// bench_layer.h, SAMPLES samples and an update, twice. Of the second round it writes lines:
//   forward TICKS (row by row), accumulate TICKS, apply TICKS, bytes BYTES (of its state), stack
//   BYTES.
#include "bench_machine.h"
#include "cutlayer/kernels_armv7em.h"
#include "cutlayer/train.h"

#include "bench_layer.h"

static struct cl_train train;
static uint64_t memory[MEMORY_BYTES / 8];
static uint32_t gradient[GRADIENT_BYTES / 4];
static int8_t input[INPUT_COUNT] __attribute__((aligned(16)));
static int8_t output[ROW_COUNT] __attribute__((aligned(16)));
static int8_t scratch[SCRATCH_BYTES] __attribute__((aligned(16)));
static int8_t g[CHANNELS];
static uint32_t state;

static int8_t draw(void)
{
    state = state * 1664525u + 1013904223u;
    return (int8_t)((int32_t)(state >> 24) - 128);
}

static void check(int32_t result)
{
    if (result < 0) {
        say("failed\n");
        fault_handler();
    }
}

static uint32_t forward(void)
{
    const uint32_t start = TIMER->value;
    for (uint16_t row = 0; row < layer.params->output.height; row++) {
        check(cl_train_forward(&train, input, output, scratch, row, 1));
    }
    return start - TIMER->value;
}

static uint32_t accumulate(void)
{
    uint32_t ticks = 0;
    for (uint32_t position = 0; position < OUTPUT_COUNT / CHANNELS; position++) {
        for (uint32_t o = 0; o < CHANNELS; o++) {
            g[o] = draw();
        }
        const uint32_t start = TIMER->value;
        check(cl_train_accumulate(&train, input, position, g));
        ticks += start - TIMER->value;
    }
    const uint32_t start = TIMER->value;
    check(cl_train_end_sample(&train, 0));
    return ticks + start - TIMER->value;
}

static uint32_t apply(void)
{
    const uint32_t start = TIMER->value;
    check(cl_train_apply(&train, 1e-5f, 1e-3f));
    return start - TIMER->value;
}

static void everything(void)
{
    (void)forward();
    (void)accumulate();
    (void)apply();
}

static void count(void)
{
    const int32_t bytes = cl_train_init(&train, &layer, &config, memory, sizeof memory, gradient);
    check(bytes);
    check((int32_t)(sizeof gradient - cl_train_gradient_bytes(&layer)));
    for (uint32_t i = 0; i < INPUT_COUNT; i++) {
        input[i] = draw();
    }
    say_number("stack ", stack_bytes(everything));
    say_number("\nbytes ", (uint32_t)bytes);
    say_number("\nforward ", forward());
    say_number("\naccumulate ", accumulate());
    say_number("\napply ", apply());
    say("\n");
}
