// Outer products of pairs of rows: the inner loop of the integer gradient. Sums of int32 are the
// same in any order.
#ifndef CUTLAYER_TRAIN_OUTER_H
#define CUTLAYER_TRAIN_OUTER_H

#include "cutlayer/train.h"
#include "kernels/dot.h"

#define PAIRS (CL_TRAIN_ROWS / 2)
#define BLOCK CL_TRAIN_BLOCK
#define CHUNK 32 // elements of a kernel's row at a time: PAIRS times as many pairs on the stack

// acc + g.first * a.first + g.second * a.second
static inline int32_t add_pair(int32_t acc, const struct cl_pair *g, const struct cl_pair *a)
{
#if defined(CL_SIMD32)
    int16x2_t g_word, a_word;
    memcpy(&g_word, g, sizeof g_word);
    memcpy(&a_word, a, sizeof a_word);
    return __smlad(g_word, a_word, acc);
#else
    return acc + (int32_t)g->first * a->first + (int32_t)g->second * a->second;
#endif
}

// Adds PAIRS pairs of rows to tiles of BLOCK channels by two elements, as many as `a_end` says.
// `step_bytes` lie between channels. a: [PAIRS][CHUNK], from the first element.
typedef void (*add_tiles)(int32_t *dw, uint32_t step_bytes, const struct cl_pair *g,
                          const struct cl_pair *a, const struct cl_pair *a_end);

#if defined(CL_SIMD32) && defined(__thumb2__)
// In assembly, because tile, operands and pointers are all the registers there are, and the
// compiler would spill. r4 to r11: the tile; r2: g; r3: a; on the stack dw, step_bytes, a_end.
#define TILE_START                                                                                 \
    "push {r4-r11, lr}\n"                                                                          \
    "ldr r12, [sp, #36]\n"                                                                         \
    "push {r0, r1, r12}\n"                                                                         \
    "1:\n"                                                                                         \
    "ldrd r0, r1, [sp]\n"                                                                          \
    "ldrd r4, r5, [r0]\n"                                                                          \
    "add r0, r0, r1\n"                                                                             \
    "ldrd r6, r7, [r0]\n"                                                                          \
    "add r0, r0, r1\n"                                                                             \
    "ldrd r8, r9, [r0]\n"                                                                          \
    "add r0, r0, r1\n"                                                                             \
    "ldrd r10, r11, [r0]\n"
#define TILE_PAIR(a_bytes, g_bytes)                                                                \
    "ldrd r0, r1, [r3, #" #a_bytes "]\n"                                                           \
    "ldrd r12, lr, [r2, #" #g_bytes "]\n"                                                          \
    "smlad r4, r12, r0, r4\n"                                                                      \
    "smlad r5, r12, r1, r5\n"                                                                      \
    "smlad r6, lr, r0, r6\n"                                                                       \
    "smlad r7, lr, r1, r7\n"                                                                       \
    "ldrd r12, lr, [r2, #" #g_bytes " + 8]\n"                                                      \
    "smlad r8, r12, r0, r8\n"                                                                      \
    "smlad r9, r12, r1, r9\n"                                                                      \
    "smlad r10, lr, r0, r10\n"                                                                     \
    "smlad r11, lr, r1, r11\n"
#define TILE_END                                                                                   \
    "ldm sp, {r0, r1, r12}\n"                                                                      \
    "strd r4, r5, [r0], #8\n"                                                                      \
    "str r0, [sp]\n"                                                                               \
    "add r0, r0, r1\n"                                                                             \
    "strd r6, r7, [r0, #-8]\n"                                                                     \
    "add r0, r0, r1\n"                                                                             \
    "strd r8, r9, [r0, #-8]\n"                                                                     \
    "add r0, r0, r1\n"                                                                             \
    "strd r10, r11, [r0, #-8]\n"                                                                   \
    "add r3, r3, #8\n"                                                                             \
    "cmp r3, r12\n"                                                                                \
    "bne 1b\n"                                                                                     \
    "add sp, sp, #12\n"                                                                            \
    "pop {r4-r11, pc}\n"
#define UNUSED __attribute__((unused))

__attribute__((naked)) static void add_all_pairs(UNUSED int32_t *dw, UNUSED uint32_t step_bytes,
                                                 UNUSED const struct cl_pair *g,
                                                 UNUSED const struct cl_pair *a,
                                                 UNUSED const struct cl_pair *a_end)
{
    __asm__(TILE_START TILE_PAIR(0, 0) TILE_PAIR(128, 16) TILE_PAIR(256, 32) TILE_PAIR(384, 48)
                TILE_END);
}

__attribute__((naked)) static void add_first_pair(UNUSED int32_t *dw, UNUSED uint32_t step_bytes,
                                                  UNUSED const struct cl_pair *g,
                                                  UNUSED const struct cl_pair *a,
                                                  UNUSED const struct cl_pair *a_end)
{
    __asm__(TILE_START TILE_PAIR(0, 0) TILE_END);
}
#else
static inline void add_pairs(int32_t *dw, uint32_t step, const struct cl_pair *g,
                             const struct cl_pair *a, const struct cl_pair *a_end, uint32_t pairs)
{
    for (; a != a_end; a += 2, dw += 2) {
        for (uint32_t o = 0; o < BLOCK; o++) {
            int32_t *to = dw + o * step;
            int32_t first = to[0], second = to[1];
            for (uint32_t pair = 0; pair < pairs; pair++) {
                first = add_pair(first, g + pair * BLOCK + o, a + pair * CHUNK);
                second = add_pair(second, g + pair * BLOCK + o, a + pair * CHUNK + 1);
            }
            to[0] = first;
            to[1] = second;
        }
    }
}

static void add_all_pairs(int32_t *dw, uint32_t step_bytes, const struct cl_pair *g,
                          const struct cl_pair *a, const struct cl_pair *a_end)
{
    add_pairs(dw, step_bytes / sizeof(*dw), g, a, a_end, PAIRS);
}

static void add_first_pair(int32_t *dw, uint32_t step_bytes, const struct cl_pair *g,
                           const struct cl_pair *a, const struct cl_pair *a_end)
{
    add_pairs(dw, step_bytes / sizeof(*dw), g, a, a_end, 1);
}
#endif

#endif
