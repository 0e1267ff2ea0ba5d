// Opens the head of engine_case.h (generated) in its engine, runs it on samples, and trains its
// last layer. Writes, a line each: the bytes that the engine has and those that it needed (or its
// error), the first sample whose output differs from what is expected (-1: none), and CRCs of the
// outputs and of the weights after STEP_COUNT steps.
#include "cutlayer/engine.h"
#include "cutlayer/frame.h"
#include "drawn_gradient.h"
#include "engine_case.h"
#include "head_sample.h"

static int8_t arena[CUTLAYER_MODEL_ARENA_BYTES] __attribute__((aligned(16)));
static uint64_t memory[TRAIN_BYTES / 8 + 1];
static int8_t g[CHANNEL_COUNT];
static struct cl_train train;
static uint32_t state = 1;

static int32_t wrong_sample(const struct cl_head *head)
{
    for (uint32_t sample = 0; sample < SAMPLE_COUNT; sample++) {
        put_sample(head, arena, inputs, sample);
        if (!gives_sample(head, arena, outputs, sample)) {
            return (int32_t)sample;
        }
    }
    return -1;
}

// One step of one sample: what the session does, without a link.
static int32_t learn(const struct cl_head *head, uint32_t *crc)
{
    const struct cl_op *last = &head->ops[head->op_count - 1];
    const struct cl_shape out = train.params.output;
    const uint32_t row_count = cl_shape_row(out);
    const int8_t *input = arena + last->input;
    int8_t *output = arena + last->output;
    for (uint32_t i = 0; i < cl_shape_count(head->input_shape); i++) {
        arena[head->input_offset + i] = draw(&state);
    }
    int32_t result = cl_head_run(head, arena, 0, (uint16_t)(head->op_count - 1));
    const uint16_t rows = head->rows ? 1 : out.height; // that are in the arena at once
    for (uint16_t row = 0; row < out.height && result >= 0; row = (uint16_t)(row + rows)) {
        result = cl_train_forward(&train, input, output, arena + last->scratch, row, rows);
        *crc = cl_crc32(*crc, output, rows * row_count);
        if (result >= 0) {
            result = accumulate_drawn(&train, input, output, row, rows, g, &state);
        }
    }
    if (result >= 0) {
        result = cl_train_end_sample(&train, 0);
    }
    return result < 0 ? result : cl_train_apply(&train, 1e-4f, 1e-2f);
}

int main(void)
{
    const struct cl_head *head = &cutlayer_model.head;
    const int32_t needed = cl_engine_open(head, arena);
    say_number(head->engine ? (int32_t)head->engine->memory_bytes : 0, "\n");
    say_number(needed, "\n");
    if (needed < 0) {
        return 0;
    }
    say_number(wrong_sample(head), "\n");
    if (!cutlayer_model.trainable) {
        return 0;
    }
    const struct cl_train_config config = {CL_OPTIMIZER_SGD, 0.9f, 0.999f, 1e-7f};
    int32_t result = cl_train_init(&train, cutlayer_model.trainable, &config, memory, sizeof memory,
                                   arena + cutlayer_model.trainable->gradient_offset);
    uint32_t crc = 0;
    for (uint32_t step = 0; step < STEP_COUNT && result >= 0; step++) {
        result = learn(head, &crc);
    }
    if (result < 0) {
        say_number(result, " training failed\n");
        return 0;
    }
    say_number((int32_t)crc, "\n");
    say_number((int32_t)cl_crc32(0, train.weights, cutlayer_model.trainable->weight_count), "\n");
    return 0;
}
