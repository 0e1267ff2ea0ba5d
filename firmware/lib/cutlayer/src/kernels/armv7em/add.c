// Sum of two tensors of one shape for Armv7E-M: the portable kernel's arithmetic in SMMLAR. An
// operand's shifted value is under 2^29, and twice the sum of both under 2^31.
#include "cutlayer/kernels_armv7em.h"

#include "kernels/armv7em/tile.h"

#if defined(CL_ARMV7EM)

// Twice an operand, 20 bits up, times its multiplier; r is its rounding, s its shift.
#define OPERAND(value, zero, multiplier, rounding, shift)                                          \
    "add " value ", " zero ", " value ", lsl #21\n"                                                \
    "add %[t], " rounding ", " value ", asr #31\n"                                                 \
    "smmlar " value ", " value ", " multiplier ", %[t]\n"                                          \
    "asr " value ", " value ", " shift "\n"

void cl_add_armv7em(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                    int8_t *scratch)
{
    // A copy, because writing int8 outputs might change what the pointer points to.
    const struct cl_packed_add_params p = *(const struct cl_packed_add_params *)params;
    // The operand of the larger scale: half of it, exactly.
    const int8_t *half = p.second_is_half ? second : input;
    const int8_t *other = p.second_is_half ? input : second;
    (void)scratch;
    for (uint32_t i = 0; i < p.count; i++) {
        int32_t a = other[i], b = half[i], t;
        __asm(OPERAND("%[a]", "%[zero]", "%[multiplier]", "%[rounding]",
                      "%[shift]") "add %[a], %[a], %[b], lsl #19\n"
                                  "add %[a], %[a], %[half_zero]\n"
              : [a] "+r"(a), [t] "=&r"(t)
              : [b] "r"(b), [zero] "r"(p.zero), [multiplier] "r"(p.multiplier),
                [rounding] "r"(p.rounding), [shift] "r"(p.shift), [half_zero] "r"(p.half_zero));
        __asm("lsl %[a], %[a], #1\n"
              "add %[t], %[rounding], %[a], asr #31\n"
              "smmlar %[a], %[a], %[multiplier], %[t]\n"
              "asr %[a], %[a], %[shift]\n"
              "ssat %[a], #8, %[a]\n"
              : [a] "+r"(a), [t] "=&r"(t)
              : [multiplier] "r"(p.output_multiplier), [rounding] "r"(p.output_rounding),
                [shift] "r"(p.output_shift));
        output[i] = (int8_t)a;
    }
    if (p.activation_min != INT8_MIN || p.activation_max != INT8_MAX) {
        cl_clamp_bytes(output, p.count, p.activation_min, p.activation_max);
    }
}
#endif
