#include "float_bits.h"

#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define INFINITY_BITS 0x7F800000u // at or above: infinity, NaN and all that is negative

// mantissa * 2^exponent; 2^23 <= mantissa < 2^24, or 0.
struct parts {
    uint32_t mantissa;
    int32_t exponent;
};

// Of |x|, which is finite.
static struct parts split(float x)
{
    const uint32_t bits = cl_float_bits(x);
    const uint32_t one = (uint32_t)1 << MANTISSA_BITS;
    struct parts parts = {bits & (one - 1u), (int32_t)(bits >> MANTISSA_BITS & 0xFFu)};
    if (parts.exponent > 0) {
        parts.mantissa |= one;
    } else {
        parts.exponent = 1;
        while (parts.mantissa != 0 && parts.mantissa < one) {
            parts.mantissa <<= 1;
            parts.exponent--;
        }
    }
    parts.exponent -= EXPONENT_BIAS + MANTISSA_BITS;
    return parts;
}

// The quotient as a double would have it (the product of two float32 is exact in one), at the end
// with 53 bits; then rounded again to 31. Both roundings matter: a quotient just below a half of
// the second one can become it by the first.
int32_t cl_quantize_multiplier(float a, float b, float c, int32_t *multiplier, int8_t *shift)
{
    if (cl_float_bits(a) >= INFINITY_BITS || cl_float_bits(b) >= INFINITY_BITS ||
        !cl_is_positive(c)) {
        return CL_ERROR_VALUE;
    }
    const struct parts pa = split(a), pb = split(b), pc = split(c);
    const uint64_t product = (uint64_t)pa.mantissa * pb.mantissa;
    if (product == 0) {
        *multiplier = 0;
        *shift = 0;
        return CL_OK;
    }
    // 55 to 57 bits of quotient, eight at a time: a remainder of 24 bits and eight more fit a word.
    // The product's upper 24 bits are less than two divisors.
    const uint32_t upper = (uint32_t)(product >> 24), lower = (uint32_t)product << 8;
    uint64_t quotient = upper >= pc.mantissa ? 1 : 0;
    uint32_t rest = upper - (quotient ? pc.mantissa : 0);
    for (int8_t i = 0; i < 7; i++) {
        const uint32_t next = i < 3 ? lower >> (24 - 8 * i) & 0xFFu : 0;
        const uint32_t part = rest << 8 | next;
        quotient = quotient << 8 | part / pc.mantissa;
        rest = part % pc.mantissa;
    }
    // To 54, one more than a double has.
    int32_t exponent = pa.exponent + pb.exponent - pc.exponent - 32;
    for (; quotient >> 54 != 0; quotient >>= 1, exponent++) {
        rest |= (uint32_t)quotient & 1u;
    }
    const uint32_t is_half_or_more = (uint32_t)quotient & 1u;
    quotient >>= 1;
    quotient += is_half_or_more & (rest != 0 ? 1u : (uint32_t)quotient); // halves to even
    exponent += 54;                                                      // as frexp has it
    uint32_t fixed = (uint32_t)((quotient + ((uint64_t)1 << 21)) >> 22);
    if (fixed == (uint32_t)1 << 31) {
        fixed >>= 1;
        exponent++;
    }
    if (exponent > 30) {
        return CL_ERROR_VALUE;
    }
    const int vanishes = exponent < -31;
    *multiplier = vanishes ? 0 : (int32_t)fixed;
    *shift = vanishes ? 0 : (int8_t)exponent;
    return CL_OK;
}

// In units of 2^-149, the smallest float.
float cl_divide_to_subnormal(float x, float y)
{
    const struct parts px = split(x), py = split(y);
    uint32_t bits = (cl_float_bits(x) ^ cl_float_bits(y)) & (uint32_t)1 << 31;
    const int32_t scale = px.exponent - py.exponent + EXPONENT_BIAS + MANTISSA_BITS - 1;
    if (px.mantissa != 0 && scale >= -1) { // else it is below half a unit
        uint32_t quotient = px.mantissa / py.mantissa;
        uint32_t rest = px.mantissa % py.mantissa;
        for (int32_t i = -1; i < scale; i++) { // one bit more than the result has
            rest <<= 1;
            quotient <<= 1;
            if (rest >= py.mantissa) {
                rest -= py.mantissa;
                quotient |= 1u;
            }
        }
        const uint32_t is_half_or_more = quotient & 1u;
        quotient >>= 1;
        bits |= quotient + (is_half_or_more & (rest != 0 ? 1u : quotient));
    }
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}
