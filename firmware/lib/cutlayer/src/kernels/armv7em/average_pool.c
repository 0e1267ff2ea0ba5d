// Average over the whole input for Armv7E-M: four channels at a time, sums in halfwords.
#include "cutlayer/kernels_armv7em.h"

#include "kernels/armv7em/tile.h"

#if defined(CL_ARMV7EM)

static int8_t average(const struct cl_pool_params *p, int32_t sum, int32_t count)
{
    const int32_t rounded = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
    return (int8_t)(rounded < p->activation_min   ? p->activation_min
                    : rounded > p->activation_max ? p->activation_max
                                                  : rounded);
}

void cl_average_pool_armv7em(const void *params, const int8_t *input, const int8_t *second,
                             int8_t *output, int8_t *scratch)
{
    const struct cl_pool_params *p = params;
    const uint32_t channels = p->input.channels;
    const int32_t count = (int32_t)p->input.height * p->input.width;
    (void)second;
    (void)scratch;
    for (uint32_t channel = 0; channel < channels; channel += 4) {
        const int8_t *x = input + channel;
        uint32_t even = 0, odd = 0, word;
        int32_t left = count;
        __asm volatile(
            "1:\n"
            "ldr %[word], [%[x]]\n"
            "add %[x], %[channels]\n"
            "sxtab16 %[even], %[even], %[word]\n"
            "sxtab16 %[odd], %[odd], %[word], ror #8\n"
            "subs %[left], #1\n"
            "bne 1b\n"
            : [word] "=&r"(word), [x] "+r"(x), [even] "+r"(even), [odd] "+r"(odd), [left] "+r"(left)
            : [channels] "r"(channels)
            : "cc", "memory");
        output[channel] = average(p, (int16_t)even, count);
        output[channel + 1] = average(p, (int16_t)odd, count);
        output[channel + 2] = average(p, (int32_t)even >> 16, count);
        output[channel + 3] = average(p, (int32_t)odd >> 16, count);
    }
}
#endif
