// A compiled head on an emulated Cortex-M that stops at every cut, for
// cutlayer_converter.measure_bytes. It runs each input of the file INPUTS, appends the bytes at
// every cut, shallowest first, to the file OUTPUTS, and writes the line: runs COUNT.
#include "bench_machine.h"
#include "cutlayer_model.h"

enum operation { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06 };
enum mode { READ_BINARY = 1, WRITE_BINARY = 5 };

static int8_t arena[CUTLAYER_MODEL_ARENA_BYTES] __attribute__((aligned(16)));

static uint32_t open_file(const char *path, uint32_t length, enum mode mode)
{
    const uint32_t block[3] = {(uint32_t)path, mode, length};
    return semihosting(SYS_OPEN, block);
}

// The bytes that were not read or written.
static uint32_t transfer(enum operation operation, uint32_t file, const int8_t *bytes,
                         uint32_t count)
{
    const uint32_t block[3] = {file, (uint32_t)bytes, count};
    return semihosting(operation, block);
}

static int write_output(const struct cl_head *head, uint32_t outputs)
{
    int32_t count;
    for (uint32_t first = 0; first < CUTLAYER_MODEL_SMASHED_COUNT; first += (uint32_t)count) {
        const int8_t *y;
        count = cl_head_output(head, arena, first, &y);
        if (count < 0 || transfer(SYS_WRITE, outputs, y, (uint32_t)count)) {
            return 0;
        }
    }
    return 1;
}

static int run_once(const struct cl_head *head, uint32_t outputs)
{
    uint16_t done = 0;
    for (uint32_t i = 0; i + 1 < head->cut_count; i++) {
        const struct cl_cut *cut = &head->cuts[i];
        if (cut->op_count == 0) {
            continue; // it has vanished in a fused pair
        }
        if (cl_head_run(head, arena, done, cut->op_count) != cut->op_count ||
            transfer(SYS_WRITE, outputs, arena + cut->offset, cl_shape_count(cut->shape))) {
            return 0;
        }
        done = cut->op_count;
    }
    const uint16_t end = cl_head_whole_ops(head);
    return cl_head_run(head, arena, done, end) == end && write_output(head, outputs);
}

static void count(void)
{
    const struct cl_head *head = &cutlayer_model.head;
    const uint32_t inputs = open_file(INPUTS, sizeof(INPUTS) - 1, READ_BINARY);
    const uint32_t outputs = open_file(OUTPUTS, sizeof(OUTPUTS) - 1, WRITE_BINARY);
    int8_t *const input = arena + head->input_offset;
    const uint32_t input_bytes = cl_shape_count(head->input_shape);
    uint32_t runs = 0;
    while (transfer(SYS_READ, inputs, input, input_bytes) == 0 && run_once(head, outputs)) {
        runs++;
    }
    say_number("runs ", runs);
    say("\n");
}
