// Fully connected layer for Armv7E-M: a row of input, widened to int16 in scratch, against four
// channels at a time. Pairs of channels share halfwords as in tile.h; two pairs are interleaved.
#include "cutlayer/kernels_armv7em.h"

#include "kernels/armv7em/tile.h"

#if defined(CL_ARMV7EM)

// Read by assembly: order and sizes matter.
struct row {
    const int32_t *channels;
    int8_t *y;
    const int8_t *y_end;
    const uint32_t *x;
    const uint32_t *weights;
    uint32_t blocks; // of four inputs, at least 1
    uint32_t away;
};

// r0 sums 256 a + b, r1 b, r2 256 c + d, r3 d; r4, r5 x; r6-r9 weights; r11 weights, r12 x, lr
// rounds. 14 instructions of 4 bytes.
#define BLOCK                                                                                      \
    "ldm r12!, {r4, r5}\n ldm r11!, {r6-r9}\n"                                                     \
    "smlad r0, r6, r4, r0\n sxtb16 r6, r6\n smlad r1, r6, r4, r1\n"                                \
    "smlad r0, r7, r5, r0\n sxtb16 r7, r7\n smlad r1, r7, r5, r1\n"                                \
    "smlad r2, r8, r4, r2\n sxtb16 r8, r8\n smlad r3, r8, r4, r3\n"                                \
    "smlad r2, r9, r5, r2\n sxtb16 r9, r9\n smlad r3, r9, r5, r3\n"

// From a sum: r4 2 * bias, r5 multiplier, r6 rounding, r7 shift.
#define FIRST(sum, low)                                                                            \
    "ldm r10!, {r4-r7}\n sub " sum ", " sum ", " low "\n add " sum ", r4, " sum ", asr #7\n"
#define SECOND(sum) "ldm r10!, {r4-r7}\n add " sum ", r4, " sum ", lsl #1\n"
#define OUTPUT(sum)                                                                                \
    "tst r9, r9\n it ne\n addne r6, r6, " sum ", asr #31\n smmlar " sum ", " sum ", r5, r6\n"      \
    "asr " sum ", " sum ", r7\n ssat " sum ", #8, " sum "\n strb " sum ", [lr], #1\n"

// Stack: 0 channels, 4 y, 8 y_end, 12 x, 16 rounds, 20 where the loop is entered, 24 away.
__attribute__((naked)) static void run_row(const struct row *row)
{
    (void)row;
    __asm volatile("push {r4-r11, lr}\n"
                   "sub sp, #28\n"
                   "ldm r0, {r1-r7}\n"
                   "mov r11, r5\n"
                   "add r8, r6, #3\n"
                   "lsr r8, #2\n"
                   "rsb r10, r6, r8, lsl #2\n"
                   "mov r0, #56\n"
                   "adr.w r12, 2f\n"
                   "mla r12, r10, r0, r12\n"
                   "orr r12, #1\n"
                   "stm sp, {r1-r4}\n"
                   "strd r8, r12, [sp, #16]\n"
                   "str r7, [sp, #24]\n"
                   "1:\n"
                   "ldr r12, [sp, #12]\n"
                   "ldr lr, [sp, #16]\n"
                   "mov r0, #0\n"
                   "mov r1, #0\n"
                   "mov r2, #0\n"
                   "mov r3, #0\n"
                   "ldr pc, [sp, #20]\n"
                   "2:\n" BLOCK BLOCK BLOCK BLOCK "subs lr, #1\n"
                   "bne.w 2b\n"
                   "ldr r9, [sp, #24]\n"
                   "ldr r10, [sp]\n"
                   "ldr lr, [sp, #4]\n" FIRST("r0", "r1") OUTPUT("r0") SECOND("r1") OUTPUT("r1")
                       FIRST("r2", "r3") OUTPUT("r2") SECOND("r3")
                           OUTPUT("r3") "strd r10, lr, [sp]\n"
                                        "ldr r4, [sp, #8]\n"
                                        "cmp lr, r4\n"
                                        "bne.w 1b\n"
                                        "add sp, #28\n"
                                        "pop {r4-r11, pc}\n");
}

// Four bytes a word: (0, 2), (1, 3).
static void widen(const int8_t *bytes, uint32_t words, uint32_t *x)
{
    for (; words > 0; words--, bytes += 4, x += 2) {
        uint32_t even, odd;
        __asm volatile("ldr %1, [%2]\n sxtb16 %0, %1\n sxtb16 %1, %1, ror #8\n"
                       : "=&r"(even), "=&r"(odd)
                       : "r"(bytes)
                       : "memory");
        x[0] = even;
        x[1] = odd;
    }
}

void cl_dense_armv7em(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                      int8_t *scratch)
{
    const struct cl_packed_params *p = params;
    const uint32_t channels = p->output.channels, whole = channels & ~(uint32_t)3;
    const uint32_t blocks = ((uint32_t)p->input.channels + 3) / 4;
    uint32_t *const x = (uint32_t *)(void *)scratch;
    (void)second;
    for (uint32_t i = 0; i < p->input.width; i++) {
        struct row row = {.channels = p->channels,
                          .y = output,
                          .y_end = output + whole,
                          .x = x,
                          .weights = (const uint32_t *)p->weights,
                          .blocks = blocks,
                          .away = p->away};
        widen(input, blocks, x);
        if (whole) {
            run_row(&row);
        }
        if (channels != whole) {
            // The last four channels, some of them once more.
            row.channels += whole * 4;
            row.weights += whole * blocks;
            row.y = output + channels - 4;
            row.y_end = output + channels;
            run_row(&row);
        }
        input += p->input.channels;
        output += channels;
    }
    if (p->activation_min != INT8_MIN || p->activation_max != INT8_MAX) {
        const uint32_t count = p->input.width * channels;
        cl_clamp_bytes(output - count, count, p->activation_min, p->activation_max);
    }
}
#endif
