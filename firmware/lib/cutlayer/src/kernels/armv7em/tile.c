#include "kernels/armv7em/tile.h"

#if defined(CL_ARMV7EM)
#include <string.h>

// In all of these r11 points to weights, r12 to x, and lr counts four blocks a round.

// Three positions: r0-r2 sum 256 a + b, r3-r5 sum b; r6-r8 x; r9, r10 weights. 17 instructions of 4
// bytes.
#define HALF_OF_3(multiply, w, s0, s1, s2, s3, s4, s5)                                             \
    "ldm r12!, {r6-r8}\n" multiply " r0, " w ", r6" s0 "\n" multiply " r1, " w ", r7" s1           \
    "\n" multiply " r2, " w ", r8" s2 "\n"                                                         \
    "sxtb16 " w ", " w "\n" multiply " r3, " w ", r6" s3 "\n" multiply " r4, " w ", r7" s4         \
    "\n" multiply " r5, " w ", r8" s5 "\n"
#define SUM_OF_3(w) HALF_OF_3("smlad", w, ", r0", ", r1", ", r2", ", r3", ", r4", ", r5")
#define FIRST_OF_3 "ldm r11!, {r9, r10}\n" HALF_OF_3("smuad", "r9", , , , , , ) SUM_OF_3("r10")
#define BLOCK_OF_3 "ldm r11!, {r9, r10}\n" SUM_OF_3("r9") SUM_OF_3("r10")

// Two positions: r0, r1 sum 256 a + b, r2, r3 sum b; r4-r7 x; r8, r9 weights. 12 instructions.
#define HALF_OF_2(multiply, w, x0, x1, s0, s1, s2, s3)                                             \
    multiply " r0, " w ", " x0 s0 "\n" multiply " r1, " w ", " x1 s1 "\n"                          \
             "sxtb16 " w ", " w "\n" multiply " r2, " w ", " x0 s2 "\n" multiply " r3, " w         \
             ", " x1 s3 "\n"
#define SUM_OF_2(w, x0, x1) HALF_OF_2("smlad", w, x0, x1, ", r0", ", r1", ", r2", ", r3")
#define LOAD_OF_2 "ldm r11!, {r8, r9}\n ldm r12!, {r4-r7}\n"
#define FIRST_OF_2 LOAD_OF_2 HALF_OF_2("smuad", "r8", "r4", "r5", , , , ) SUM_OF_2("r9", "r6", "r7")
#define BLOCK_OF_2 LOAD_OF_2 SUM_OF_2("r8", "r4", "r5") SUM_OF_2("r9", "r6", "r7")

// From the sums of a pair's first channel, r = 2 A + 2 bias; and of its second one.
#define FIRST_CHANNEL(sum, low) "sub " sum ", " sum ", " low "\n add " sum ", r6, " sum ", asr #7\n"
#define SECOND_CHANNEL(sum) "add " sum ", r6, " sum ", lsl #1\n"
// r7 multiplier, r8 rounding, r9 shift.
#define OUTPUT(sum)                                                                                \
    "smmlar " sum ", " sum ", r7, r8\n asr " sum ", " sum ", r9\n ssat " sum ", #8, " sum "\n"
#define OUTPUT_AWAY(sum)                                                                           \
    "add r10, r8, " sum ", asr #31\n smmlar " sum ", " sum ", r7, r10\n"                           \
    "asr " sum ", " sum ", r9\n ssat " sum ", #8, " sum "\n"

#define CHANNELS_OF_3(output)                                                                      \
    "ldm r12!, {r6-r9}\n" FIRST_CHANNEL("r0", "r3") output("r0") FIRST_CHANNEL("r1", "r4")         \
        output("r1") FIRST_CHANNEL("r2", "r5")                                                     \
            output("r2") "ldm r12!, {r6-r9}\n" SECOND_CHANNEL("r3") output("r3")                   \
                SECOND_CHANNEL("r4") output("r4") SECOND_CHANNEL("r5") output("r5")
#define CHANNELS_OF_2(output)                                                                      \
    "ldm r12!, {r6-r9}\n" FIRST_CHANNEL("r0", "r2") output("r0") FIRST_CHANNEL("r1", "r3")         \
        output("r1") "ldm r12!, {r6-r9}\n" SECOND_CHANNEL("r2") output("r2") SECOND_CHANNEL("r3")  \
            output("r3")
#define STORE_3                                                                                    \
    "strb r1, [lr, r10]\n strb r2, [lr, r10, lsl #1]\n strb r0, [lr], #1\n"                        \
    "strb r4, [lr, r10]\n strb r5, [lr, r10, lsl #1]\n strb r3, [lr], #1\n"
#define STORE_2 "strb r1, [lr, r10]\n strb r0, [lr], #1\n strb r3, [lr, r10]\n strb r2, [lr], #1\n"

// Stack: 0 y_stride, 4 channels, 8 y, 12 x, 16 where the loop is entered, 20 rounds, 24 y_end, 28
// away. The loop has four blocks; it is entered so that it ends with the last one.
#define TILE(block_bytes, first, block, channels, store)                                           \
    __asm volatile("push {r4-r11, lr}\n"                                                           \
                   "sub sp, #32\n"                                                                 \
                   "ldm r0, {r1-r8}\n"                                                             \
                   "mov r11, r5\n"                                                                 \
                   "adr.w r12, 3f\n"                                                               \
                   "subs r6, #1\n"                                                                 \
                   "beq 5f\n"                                                                      \
                   "add r9, r6, #3\n"                                                              \
                   "lsr r9, #2\n"                                                                  \
                   "rsb r10, r6, r9, lsl #2\n"                                                     \
                   "mov r0, #" block_bytes "\n"                                                    \
                   "adr.w r12, 2f\n"                                                               \
                   "mla r12, r10, r0, r12\n"                                                       \
                   "5:\n"                                                                          \
                   "orr r12, #1\n"                                                                 \
                   "stm sp, {r1-r4}\n"                                                             \
                   "strd r12, r9, [sp, #16]\n"                                                     \
                   "strd r7, r8, [sp, #24]\n"                                                      \
                   "1:\n"                                                                          \
                   "ldr r12, [sp, #12]\n"                                                          \
                   "ldr lr, [sp, #20]\n" first "ldr pc, [sp, #16]\n"                               \
                   "2:\n" block block block block "subs lr, #1\n"                                  \
                   "bne.w 2b\n"                                                                    \
                   "3:\n"                                                                          \
                   "ldr r6, [sp, #28]\n"                                                           \
                   "ldr r12, [sp, #4]\n"                                                           \
                   "cmp r6, #0\n"                                                                  \
                   "bne.w 6f\n" channels(OUTPUT) "4:\n"                                            \
                                                 "ldr r10, [sp]\n"                                 \
                                                 "ldr lr, [sp, #8]\n" store                        \
                                                 "strd r12, lr, [sp, #4]\n"                        \
                                                 "ldr r6, [sp, #24]\n"                             \
                                                 "cmp lr, r6\n"                                    \
                                                 "bne.w 1b\n"                                      \
                                                 "add sp, #32\n"                                   \
                                                 "pop {r4-r11, pc}\n"                              \
                                                 "6:\n" channels(OUTPUT_AWAY) "b.w 4b\n")

__attribute__((naked)) void cl_tile_of_3(const struct cl_tile *tile)
{
    (void)tile;
    TILE("68", FIRST_OF_3, BLOCK_OF_3, CHANNELS_OF_3, STORE_3);
}

__attribute__((naked)) void cl_tile_of_2(const struct cl_tile *tile)
{
    (void)tile;
    TILE("48", FIRST_OF_2, BLOCK_OF_2, CHANNELS_OF_2, STORE_2);
}

// r0 x, r1 first position, r2 second, r3 third; r10 words left, r11 lines left, r12 skip, lr words.
#define WIDEN_LOADS_2 "ldr r4, [r1], #4\n ldr r5, [r2], #4\n"
#define WIDEN_2                                                                                    \
    WIDEN_LOADS_2 "sxtb16 r6, r4, ror #8\n sxtb16 r7, r5, ror #8\n"                                \
                  "sxtb16 r4, r4\n sxtb16 r5, r5\n stm r0!, {r4-r7}\n"
#define WIDEN_3                                                                                    \
    WIDEN_LOADS_2 "ldr r6, [r3], #4\n"                                                             \
                  "sxtb16 r7, r4, ror #8\n sxtb16 r8, r5, ror #8\n sxtb16 r9, r6, ror #8\n"        \
                  "sxtb16 r4, r4\n sxtb16 r5, r5\n sxtb16 r6, r6\n stm r0!, {r4-r9}\n"
#define WIDEN(word, next_line)                                                                     \
    __asm volatile("push {r4-r11, lr}\n"                                                           \
                   "mov lr, r3\n"                                                                  \
                   "add r3, r1, r2, lsl #1\n"                                                      \
                   "add r2, r1\n"                                                                  \
                   "ldrd r11, r12, [sp, #36]\n"                                                    \
                   "1:\n"                                                                          \
                   "lsrs r10, lr, #1\n"                                                            \
                   "beq 3f\n"                                                                      \
                   "2:\n" word word "subs r10, #1\n"                                               \
                   "bne 2b\n"                                                                      \
                   "3:\n"                                                                          \
                   "tst lr, #1\n"                                                                  \
                   "beq 4f\n" word "4:\n" next_line "subs r11, #1\n"                               \
                   "bne 1b\n"                                                                      \
                   "pop {r4-r11, pc}\n")

__attribute__((naked)) void cl_widen_3(uint32_t *x, const int8_t *first, uint32_t step,
                                       uint32_t words, uint32_t lines, uint32_t skip)
{
    (void)x, (void)first, (void)step, (void)words, (void)lines, (void)skip;
    WIDEN(WIDEN_3, "add r1, r12\n add r2, r12\n add r3, r12\n");
}

__attribute__((naked)) void cl_widen_2(uint32_t *x, const int8_t *first, uint32_t step,
                                       uint32_t words, uint32_t lines, uint32_t skip)
{
    (void)x, (void)first, (void)step, (void)words, (void)lines, (void)skip;
    WIDEN(WIDEN_2, "add r1, r12\n add r2, r12\n");
}

void cl_clamp_bytes(int8_t *bytes, uint32_t count, int8_t low, int8_t high)
{
    const uint32_t lows = (uint8_t)low * 0x01010101u, highs = (uint8_t)high * 0x01010101u;
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        uint32_t word, unused;
        memcpy(&word, bytes + i, sizeof(word));
        // GE flags of a byte: its difference is not negative.
        __asm("ssub8 %1, %0, %2\n"
              "sel %0, %0, %2\n"
              "ssub8 %1, %3, %0\n"
              "sel %0, %0, %3\n"
              : "+r"(word), "=&r"(unused)
              : "r"(lows), "r"(highs)
              : "cc");
        memcpy(bytes + i, &word, sizeof(word));
    }
    for (; i < count; i++) {
        bytes[i] = bytes[i] < low ? low : bytes[i] > high ? high : bytes[i];
    }
}
#endif
