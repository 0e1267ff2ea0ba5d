// Trains each layer of train_layers.h (generated) on drawn inputs and gradients, and writes a CRC
// of the outputs and one of the state. The same program runs on this computer and on emulated
// boards.
#include <string.h>

#include "cutlayer/frame.h"
#include "cutlayer/train.h"
#include "train_layers.h"

#include "drawn_gradient.h"

void say(const char *text);

static uint64_t memory[MEMORY_BYTES / 8];
static int8_t input[INPUT_COUNT], output[OUTPUT_COUNT], g[CHANNEL_COUNT];
static uint64_t scratch[SCRATCH_BYTES / 8 + 1]; // aligned as the arena is
static uint32_t gradient[GRADIENT_BYTES / 4 + 1];
static struct cl_train train;
static uint32_t state;

static void say_number(uint32_t number, char end)
{
    char text[] = "00000000 ";
    for (int8_t i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[(number >> (28 - 4 * i)) & 15u];
    }
    text[8] = end;
    say(text);
}

// One sample, `rows` rows of it at a time; returns the CRC of the outputs, gone on from `crc`.
static uint32_t learn(uint32_t crc, uint16_t rows)
{
    const struct cl_conv_params *params = &train.params;
    const uint32_t channels = params->output.channels;
    const uint32_t positions = (uint32_t)params->output.height * params->output.width;
    for (uint32_t i = 0; i < cl_shape_count(params->input); i++) {
        input[i] = draw(&state);
    }
    const uint32_t row_count = cl_shape_row(params->output);
    for (uint16_t row = 0; row < params->output.height; row = (uint16_t)(row + rows)) {
        if (cl_train_forward(&train, input, output + row * row_count, (int8_t *)scratch, row,
                             rows) < 0) {
            say("forward failed\n");
        }
    }
    if (accumulate_drawn(&train, input, output, 0, params->output.height, g, &state) < 0 ||
        cl_train_end_sample(&train, 0) < 0) {
        say("accumulate failed\n");
    }
    return cl_crc32(crc, output, positions * channels);
}

static uint32_t state_crc(void)
{
    const uint32_t channels = train.layer->channel_count;
    const uint32_t parameters = train.layer->weight_count + channels;
    uint32_t crc = cl_crc32(0, train.weights, train.layer->weight_count);
    crc = cl_crc32(crc, train.bias, 4u * channels);
    crc = cl_crc32(crc, train.multiplier, 4u * channels);
    crc = cl_crc32(crc, train.shift, channels);
    crc = cl_crc32(crc, train.weight_scale, 4u * channels);
    const void *const wide[3] = {train.master, train.moment1, train.moment2};
    for (uint32_t i = 0; i < 3; i++) {
        const void *kept = train.master ? wide[i] : train.bfloat16[i];
        crc = kept ? cl_crc32(crc, kept, (train.master ? 4u : 2u) * parameters) : crc;
    }
    return crc;
}

// No kernel writes behind the scratch that it needs.
static void check_scratch(uint32_t bytes)
{
    const uint8_t *at = (const uint8_t *)scratch;
    for (uint32_t i = bytes; i < sizeof scratch; i++) {
        if (at[i] != 0xA5) {
            say("scratch is too small\n");
            return;
        }
    }
}

int main(void)
{
    for (uint32_t i = 0; i < LAYER_COUNT; i++) {
        uint32_t crc = 0;
        state = i;
        memset(scratch, 0xA5, sizeof scratch);
        if (cl_train_gradient_bytes(&layers[i]) > sizeof gradient ||
            cl_train_init(&train, &layers[i], &configs[i], memory, sizeof memory, gradient) < 0) {
            say("init failed\n");
        }
        for (uint32_t step = 0; step < STEP_COUNT; step++) {
            crc = learn(crc, 1);
            crc = learn(crc, layers[i].params->output.height);
            if (cl_train_apply(&train, 1e-4f, 2e-3f) < 0) {
                say("apply failed\n");
            }
        }
        check_scratch(scratch_bytes[i]);
        say_number(crc, ' ');
        say_number(state_crc(), '\n');
    }
    return 0;
}
