// Softmax in gemmlowp's fixed point: exp from a table, the division by Newton and Raphson.
#include "cutlayer/kernels.h"

#include "requantize.h"

// Integer bits of the sum of exponentials: at most 4096 of them.
#define SUM_INTEGER_BITS 12

// a * b in fixed point: high word of twice the product, rounded.
static int32_t fixed_multiply(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

static int32_t fixed_shift_left(int32_t value, int bits)
{
    const int64_t shifted = (int64_t)value * ((int64_t)1 << bits);
    return (int32_t)(shifted > INT32_MAX ? INT32_MAX : shifted < INT32_MIN ? INT32_MIN : shifted);
}

static int32_t rounding_shift_right(int32_t value, int bits)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << bits) - 1u);
    const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> bits) + ((value & mask) > threshold ? 1 : 0);
}

// 1 / (1 + x) in Q0.31, for x in Q0.31 from 0 to 1. Three Newton-Raphson steps from 48/17 - 32/17
// d.
static int32_t reciprocal(int32_t x)
{
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);  // (1 + x) / 2
    int32_t estimate = 1515870810 + fixed_multiply(half, -1010580540); // Q2.29
    for (int i = 0; i < 3; i++) {
        const int32_t error = ((int32_t)1 << 29) - fixed_multiply(half, estimate);
        estimate += fixed_shift_left(fixed_multiply(estimate, error), 2);
    }
    return fixed_shift_left(estimate, 1);
}

static void one_row(const struct cl_softmax_params *p, const int8_t *input, int8_t *output)
{
    int8_t most = INT8_MIN;
    for (uint32_t i = 0; i < p->channels; i++) {
        most = input[i] > most ? input[i] : most;
    }
    int32_t sum = 0;
    for (uint32_t i = 0; i < p->channels; i++) {
        const uint32_t below = (uint32_t)(most - input[i]);
        if (below < p->exp_count) {
            sum += rounding_shift_right(p->exp_table[below], SUM_INTEGER_BITS);
        }
    }
    int zeros = 0;
    while (((uint32_t)sum << zeros & 0x80000000u) == 0) {
        zeros++;
    }
    const int32_t scale = reciprocal((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
    const int bits = SUM_INTEGER_BITS - zeros + 31 - 8;
    for (uint32_t i = 0; i < p->channels; i++) {
        const uint32_t below = (uint32_t)(most - input[i]);
        int32_t value = INT8_MIN;
        if (below < p->exp_count) {
            value += rounding_shift_right(fixed_multiply(scale, p->exp_table[below]), bits);
        }
        output[i] = cl_clamp(value, INT8_MIN, INT8_MAX);
    }
}

void cl_softmax(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                int8_t *scratch)
{
    const struct cl_softmax_params *p = params;
    (void)second;
    (void)scratch;
    for (uint32_t row = 0; row < p->rows; row++) {
        one_row(p, input + row * p->channels, output + row * p->channels);
    }
}
