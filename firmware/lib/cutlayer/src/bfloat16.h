// bfloat16: the upper half of a float32, for master weights and moments where RAM is short.
//
// Rounded stochastically, or small updates would be lost: up with the probability of the lower half
// that is cut off. The chance is a hash of the step and the parameter, so that every machine draws
// the same.
#ifndef CUTLAYER_BFLOAT16_H
#define CUTLAYER_BFLOAT16_H

#include "float_bits.h"

static inline float cl_from_bfloat16(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// x with its lower half cut off after adding `chance` < 2^16 to it, in magnitude. x is finite, and
// so is what it gives.
static inline uint16_t cl_to_bfloat16(float x, uint32_t chance)
{
    const uint32_t bits = cl_float_bits(x);
    const uint32_t up = bits + chance;
    const uint32_t infinity = 0x7F800000u;
    return (uint16_t)(((up & infinity) == infinity ? bits : up) >> 16);
}

// To nearest, halves to even.
static inline uint16_t cl_nearest_bfloat16(float x)
{
    return cl_to_bfloat16(x, 0x7FFFu + (cl_float_bits(x) >> 16 & 1u));
}

// 32 bits that look random. Source: the finalizer of MurmurHash3 (Appleby, public domain).
static inline uint32_t cl_mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    return x ^ x >> 16;
}

#endif
