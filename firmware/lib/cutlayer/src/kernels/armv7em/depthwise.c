// Depthwise 3 x 3 convolution for Armv7E-M, stride 1 or 2, four channels at a time and column by
// column.
//
// A column of input is held as pairs of rows, a word each, channel by channel: for the outputs of
// rows y and y + 1 the rows y to y + 3 are two words A and B of each of three columns, and three
// taps of a column take two instructions an output. Pairs begin at even rows of the padded input. A
// ring holds three columns; which one is the left one is a matter of the weights' order.
//
// Output may be the input where shapes are the same: a column is widened before its outputs are
// written, and the other channels stay.
#include "cutlayer/kernels_armv7em.h"

#include "kernels/armv7em/tile.h"

#if defined(CL_ARMV7EM)
#include <string.h>

#define GROUP 4u
#define COLUMNS 3u
// Words of one channel's weights: for three columns, and the first two once more, (w0, w1) and (w1,
// w2) of its rows.
#define WEIGHT_WORDS 10u

// One column of outputs of four channels. Read by assembly: order and sizes matter.
struct strip {
    const uint32_t *weights; // of the first channel, from the left column on
    const int32_t *channels;
    const uint32_t *ring;
    int8_t *y;
    uint32_t plane_bytes; // of a channel's ring
    uint32_t y_stride;    // bytes between rows; 0 when there is one row of output
    uint32_t whole_bytes; // of the ring, where outputs come in whole pairs of rows
    uint32_t end_bytes;   // of the ring, all outputs: one pair more when their number is odd
};

// r0-r5 weights, r6-r8 a row of the ring, r9 shift, r10, r11 sums, r12 ring, lr y.
#define SUMS_OF_2                                                                                  \
    "ldm r12!, {r6-r8}\n"                                                                          \
    "smuad r10, r0, r6\n smulbt r11, r0, r6\n"                                                     \
    "smlad r10, r2, r7, r10\n smlabt r11, r2, r7, r11\n"                                           \
    "smlad r10, r4, r8, r10\n smlabt r11, r4, r8, r11\n"                                           \
    "ldm r12, {r6-r8}\n"                                                                           \
    "smlatb r10, r1, r6, r10\n smlad r11, r1, r6, r11\n"                                           \
    "smlatb r10, r3, r7, r10\n smlad r11, r3, r7, r11\n"                                           \
    "smlatb r10, r5, r8, r10\n smlad r11, r5, r8, r11\n"                                           \
    "ldm sp, {r6-r9}\n"                                                                            \
    "add r10, r6, r10, lsl #1\n add r11, r6, r11, lsl #1\n"
#define OUTPUT_OF_2 "smmlar r10, r10, r7, r8\n smmlar r11, r11, r7, r8\n"
#define OUTPUT_OF_2_AWAY                                                                           \
    "add r6, r8, r10, asr #31\n smmlar r10, r10, r7, r6\n"                                         \
    "add r6, r8, r11, asr #31\n smmlar r11, r11, r7, r6\n"
// With a stride of 0 the second output is overwritten by the first one.
#define STORE_OF_2                                                                                 \
    "asr r10, r10, r9\n ssat r10, #8, r10\n asr r11, r11, r9\n ssat r11, #8, r11\n"                \
    "ldrd r6, r7, [sp, #16]\n"                                                                     \
    "strb r11, [lr, r6]\n strb r10, [lr]\n add lr, lr, r6, lsl #1\n"

#define SUM_OF_1                                                                                   \
    "ldm r12!, {r6-r8}\n"                                                                          \
    "smuad r10, r0, r6\n smlad r10, r2, r7, r10\n smlad r10, r4, r8, r10\n"                        \
    "ldm r12, {r6-r8}\n"                                                                           \
    "smlatb r10, r1, r6, r10\n smlatb r10, r3, r7, r10\n smlatb r10, r5, r8, r10\n"                \
    "ldm sp, {r6-r9}\n"                                                                            \
    "add r10, r6, r10, lsl #1\n"
#define OUTPUT_OF_1 "smmlar r10, r10, r7, r8\n"
#define OUTPUT_OF_1_AWAY "add r6, r8, r10, asr #31\n smmlar r10, r10, r7, r6\n"
#define STORE_OF_1                                                                                 \
    "asr r10, r10, r9\n ssat r10, #8, r10\n ldrd r6, r7, [sp, #16]\n"                              \
    "strb r10, [lr]\n add lr, lr, r6\n"

// Stack: 0 the channel's four words, 16 y_stride, 20 where this loop ends, 24 where all ends; then
// what the next channel starts from: 28 weights, 32 channels, 36 ring, 40 y; 44 the strip, 48
// channels left.
#define STRIP(sums, output, store)                                                                 \
    __asm volatile("push {r4-r11, lr}\n"                                                           \
                   "sub sp, #52\n"                                                                 \
                   "mov r1, #4\n"                                                                  \
                   "strd r0, r1, [sp, #44]\n"                                                      \
                   "ldm r0, {r4-r7}\n"                                                             \
                   "strd r4, r5, [sp, #28]\n"                                                      \
                   "strd r6, r7, [sp, #36]\n"                                                      \
                   "1:\n"                                                                          \
                   "ldr r11, [sp, #44]\n"                                                          \
                   "ldrd r4, r5, [sp, #28]\n"                                                      \
                   "ldrd r12, lr, [sp, #36]\n"                                                     \
                   "ldm r5!, {r0-r3}\n"                                                            \
                   "add r11, #16\n"                                                                \
                   "ldm r11, {r6-r9}\n"                                                            \
                   "add r8, r12\n"                                                                 \
                   "add r9, r12\n"                                                                 \
                   "add r6, r12\n"                                                                 \
                   "stm sp, {r0-r3}\n"                                                             \
                   "strd r7, r8, [sp, #16]\n"                                                      \
                   "add r10, r4, #40\n"                                                            \
                   "add r11, lr, #1\n"                                                             \
                   "strd r9, r10, [sp, #24]\n"                                                     \
                   "strd r5, r6, [sp, #32]\n"                                                      \
                   "str r11, [sp, #40]\n"                                                          \
                   "ldm r4, {r0-r5}\n"                                                             \
                   "2:\n" sums output store "cmp r12, r7\n"                                        \
                   "bne 2b\n"                                                                      \
                   "ldr r6, [sp, #24]\n"                                                           \
                   "cmp r12, r6\n"                                                                 \
                   "beq 3f\n"                                                                      \
                   "mov r7, #0\n"                                                                  \
                   "str r7, [sp, #16]\n"                                                           \
                   "str r6, [sp, #20]\n"                                                           \
                   "b 2b\n"                                                                        \
                   "3:\n"                                                                          \
                   "ldr r6, [sp, #48]\n"                                                           \
                   "subs r6, #1\n"                                                                 \
                   "str r6, [sp, #48]\n"                                                           \
                   "bne 1b\n"                                                                      \
                   "add sp, #52\n"                                                                 \
                   "pop {r4-r11, pc}\n")

__attribute__((naked)) static void strip_1(const struct strip *strip)
{
    (void)strip;
    STRIP(SUMS_OF_2, OUTPUT_OF_2, STORE_OF_2);
}

__attribute__((naked)) static void strip_1_away(const struct strip *strip)
{
    (void)strip;
    STRIP(SUMS_OF_2, OUTPUT_OF_2_AWAY, STORE_OF_2);
}

__attribute__((naked)) static void strip_2(const struct strip *strip)
{
    (void)strip;
    STRIP(SUM_OF_1, OUTPUT_OF_1, STORE_OF_1);
}

__attribute__((naked)) static void strip_2_away(const struct strip *strip)
{
    (void)strip;
    STRIP(SUM_OF_1, OUTPUT_OF_1_AWAY, STORE_OF_1);
}

// Widens `count` pairs of rows of four channels.
__attribute__((naked)) static void widen(const int8_t *x, uint32_t row_bytes, uint32_t *ring,
                                         uint32_t plane_bytes, uint32_t count)
{
    (void)x, (void)row_bytes, (void)ring, (void)plane_bytes, (void)count;
    __asm volatile("push {r4-r9, lr}\n"
                   "ldr r12, [sp, #28]\n"
                   "add r4, r2, r3\n"
                   "add r5, r2, r3, lsl #1\n"
                   "add r3, r4, r3, lsl #1\n"
                   "1:\n"
                   "ldr r6, [r0]\n"
                   "ldr r7, [r0, r1]\n"
                   "add r0, r0, r1, lsl #1\n"
                   "pkhbt r8, r6, r7, lsl #16\n"
                   "pkhtb r7, r7, r6, asr #16\n"
                   "sxtb16 r9, r8\n"
                   "sxtb16 r8, r8, ror #8\n"
                   "sxtb16 r6, r7\n"
                   "sxtb16 r7, r7, ror #8\n"
                   "str r9, [r2], #12\n"
                   "str r8, [r4], #12\n"
                   "str r6, [r5], #12\n"
                   "str r7, [r3], #12\n"
                   "subs r12, #1\n"
                   "bne 1b\n"
                   "pop {r4-r9, pc}\n");
}

static uint32_t halves(int32_t low, int32_t high)
{
    return (uint32_t)(uint16_t)low | (uint32_t)high << 16;
}

// The weights of four channels for the strips.
static void lay_out(const struct cl_packed_params *p, uint32_t channel, uint32_t *weights)
{
    const uint32_t step = p->output.channels;
    for (uint32_t c = 0; c < GROUP; c++, weights += WEIGHT_WORDS) {
        const int8_t *w = (const int8_t *)p->weights + channel + c;
        for (uint32_t kx = 0; kx < COLUMNS; kx++, w += step) {
            weights[2 * kx] = halves(w[0], w[3 * step]);
            weights[2 * kx + 1] = halves(w[3 * step], w[6 * step]);
        }
        memcpy(weights + 2 * COLUMNS, weights, 4 * sizeof(*weights));
    }
}

// Widens one pair of rows, a and b, of four channels.
static inline void widen_pair(uint32_t a, uint32_t b, uint32_t *ring, uint32_t plane_words)
{
    uint32_t w0, w1, w2, w3;
    __asm("pkhbt %1, %4, %5, lsl #16\n"
          "pkhtb %3, %5, %4, asr #16\n"
          "sxtb16 %0, %1\n"
          "sxtb16 %1, %1, ror #8\n"
          "sxtb16 %2, %3\n"
          "sxtb16 %3, %3, ror #8\n"
          : "=&r"(w0), "=&r"(w1), "=&r"(w2), "=&r"(w3)
          : "r"(a), "r"(b));
    ring[0] = w0;
    ring[plane_words] = w1;
    ring[2 * plane_words] = w2;
    ring[3 * plane_words] = w3;
}

static inline uint32_t load(const int8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

// Column `x` of the input, which may lie outside, to its place in the ring. Rows and columns
// outside are the zero point.
static void widen_column(const struct cl_packed_params *p, const int8_t *input, int32_t x,
                         uint32_t pairs, uint32_t *ring)
{
    const uint32_t row_bytes = (uint32_t)p->input.width * p->input.channels;
    const uint32_t plane_words = pairs * COLUMNS, height = p->input.height;
    const uint32_t outside = (uint8_t)p->input_zero_point * 0x01010101u;
    const uint32_t *const end = ring + plane_words;
    if (x < 0 || x >= (int32_t)p->input.width) {
        for (; ring != end; ring += COLUMNS) {
            widen_pair(outside, outside, ring, plane_words);
        }
        return;
    }
    const int8_t *column = input + (uint32_t)x * p->input.channels;
    uint32_t row = 0;
    if (p->pad_top) {
        widen_pair(outside, load(column), ring, plane_words);
        ring += COLUMNS;
        row = 1;
    }
    const uint32_t whole = (height - row) / 2, room = (uint32_t)(end - ring) / COLUMNS;
    const uint32_t count = whole < room ? whole : room;
    if (count) {
        widen(column + row * row_bytes, row_bytes, ring, plane_words * 4, count);
        ring += count * COLUMNS;
        row += 2 * count;
    }
    for (; ring != end; ring += COLUMNS, row += 2) {
        const uint32_t first = row < height ? load(column + row * row_bytes) : outside;
        widen_pair(first, outside, ring, plane_words);
    }
}

void cl_depthwise_armv7em(const void *params, const int8_t *input, const int8_t *second,
                          int8_t *output, int8_t *scratch)
{
    const struct cl_packed_params *p = params;
    const uint32_t stride = p->stride_width, channels = p->output.channels;
    const uint32_t rows = p->output.height, row_bytes = p->output.width * channels;
    // Pairs of rows of the input; the last one is B only.
    const uint32_t steps = stride == 1 ? (rows + 1) / 2 : rows;
    const uint32_t whole = stride == 1 ? rows / 2 : rows;
    const uint32_t step_bytes = 4 * COLUMNS;
    uint32_t *const weights = (uint32_t *)(void *)scratch;
    uint32_t *const ring = weights + GROUP * WEIGHT_WORDS;
    void (*const relu)(const struct strip *) = stride == 1 ? strip_1 : strip_2;
    void (*const any)(const struct strip *) = stride == 1 ? strip_1_away : strip_2_away;
    void (*const run)(const struct strip *) = p->away ? any : relu;
    struct strip strip = {.ring = ring,
                          .plane_bytes = (steps + 1) * step_bytes,
                          .y_stride = whole ? row_bytes : 0,
                          .whole_bytes = (whole ? whole : steps) * step_bytes,
                          .end_bytes = steps * step_bytes};
    (void)second;
    for (uint32_t channel = 0; channel < channels; channel += GROUP) {
        int32_t x = -(int32_t)p->pad_left;
        uint32_t slot = 0;
        lay_out(p, channel, weights);
        strip.channels = p->channels + channel * 4;
        for (uint32_t column = 0; column < p->output.width; column++) {
            // Three columns before the first output, `stride` more before each other one.
            for (uint32_t i = column ? COLUMNS - stride : 0; i < COLUMNS; i++, x++) {
                widen_column(p, input + channel, x, steps + 1, ring + slot);
                slot = slot == COLUMNS - 1 ? 0 : slot + 1;
            }
            // The left column is the oldest one, at `slot`: weights turn the other way.
            strip.weights = weights + 2 * (slot ? COLUMNS - slot : 0);
            strip.y = output + column * channels + channel;
            run(&strip);
        }
    }
    if (p->activation_min != INT8_MIN || p->activation_max != INT8_MAX) {
        cl_clamp_bytes(output, rows * row_bytes, p->activation_min, p->activation_max);
    }
}
#endif
