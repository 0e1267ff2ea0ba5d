// Fully connected layer with two products a multiplication: a row of input, packed in scratch,
// against two output channels at a time.
//
// Weights: by pair of channels, by four inputs, a word of four bytes u of each; filled up with u =
// 128, a weight of 0, to an even number of fours. With an odd number of channels the last one comes
// in a pair with the one before it.
#include "cutlayer/kernels_long.h"

#include <string.h>

#include "kernels/long/product.h"

#define STEP                                                                                       \
    {                                                                                              \
        const uint32_t outer = x[0], inner = x[1], word0 = w[0], word1 = w[1];                     \
        sum0 += (uint64_t)cl_outer_bytes(word0) * outer;                                           \
        sum0 += (uint64_t)cl_inner_bytes(word0) * inner;                                           \
        sum1 += (uint64_t)cl_outer_bytes(word1) * outer;                                           \
        sum1 += (uint64_t)cl_inner_bytes(word1) * inner;                                           \
        w += 2;                                                                                    \
        x += 2;                                                                                    \
    }

// All output channels of a row.
CL_OWN_REGISTERS CL_IN_ORDER static void run_row(const struct cl_packed_params *p,
                                                 const uint32_t *row, const uint32_t *row_end,
                                                 uint64_t start, int8_t *y)
{
    const uint32_t *w = (const uint32_t *)p->weights;
    const int32_t *channel = p->channels;
    const uint32_t channels = p->output.channels;
    for (uint32_t pair = 0; pair < channels; pair += 2, channel += 8) {
        const uint32_t *x = row;
        uint64_t sum0 = start, sum1 = start;
        do {
            STEP STEP
        } while (x != row_end);
        const uint32_t o = pair + 2 <= channels ? pair : channels - 2;
        const uint32_t bias0 = (uint32_t)channel[0], bias1 = (uint32_t)channel[4];
        // Written last: to the compiler an int8 might lie in the table.
        const int8_t y0 = cl_long_output(bias0 + cl_twice_middle(sum0), channel);
        const int8_t y1 = cl_long_output(bias1 + cl_twice_middle(sum1), channel + 4);
        y[o] = y0;
        y[o + 1] = y1;
    }
}

void cl_dense_long(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                   int8_t *scratch)
{
    const struct cl_packed_params *p = params;
    const uint32_t depth = p->input.channels, whole = depth / 4, rest = depth % 4;
    uint32_t *const x = (uint32_t *)(void *)scratch, *const x_end = x + (depth + 7) / 8 * 4;
    (void)second;
    for (uint32_t row = 0; row < p->input.width; row++, input += depth) {
        int8_t last[8];
        const uint32_t left = (uint32_t)(x_end - x) / 2 - whole;
        uint32_t sum = cl_pack_long(input, 0, 1, whole, x, 2);
        // -128 is v = 0.
        memset(last, INT8_MIN, sizeof(last));
        memcpy(last, input + 4 * whole, (size_t)rest);
        sum += cl_pack_long(last, 0, 1, left, x + 2 * whole, 2);
        int8_t *const y = output + row * p->output.channels;
        run_row(p, x, x_end, cl_long_start(sum), y);
        cl_clamp_outputs(y, p->output.channels, p->activation_min, p->activation_max);
    }
}
