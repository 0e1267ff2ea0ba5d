// Tensor codecs: int8, int4 and int2 codes, zero suppression, and the mask of the gradient
// (SPEC.md, section 3.3). Everything works on pieces of a tensor; no buffer is larger than a
// message.
#ifndef CUTLAYER_CODEC_H
#define CUTLAYER_CODEC_H

#include "cutlayer/error.h"

// A codec: a width, plus CL_CODEC_SUPPRESSED for activations without their zeros.
enum cl_codec {
    CL_CODEC_INT8 = 0,
    CL_CODEC_INT4 = 1,
    CL_CODEC_INT2 = 2,
    CL_CODEC_SUPPRESSED = 16,
};

// Returns 1 for a codec that activations (or gradients) may have, else 0.
int32_t cl_codec_is_activation(uint8_t codec);
int32_t cl_codec_is_gradient(uint8_t codec);

// Code of an activation: 0 to 255, 15 or 3.
uint8_t cl_codec_code(uint8_t codec, int8_t y);

// The value that a code stands for.
int8_t cl_codec_value(uint8_t codec, uint8_t code);

// The most of `y`'s `count` elements that fit in `capacity` bytes when encoded.
uint32_t cl_codec_fit(uint8_t codec, int8_t zero_point, const int8_t *y, uint32_t count,
                      uint32_t capacity);

// Encodes `count` elements. Returns the bytes of `data`, or CL_ERROR_MEMORY.
int32_t cl_codec_encode(uint8_t codec, int8_t zero_point, const int8_t *y, uint32_t count,
                        uint8_t *data, uint32_t capacity) CL_CHECK_RESULT;

// Decodes `count` elements. Returns 0, or CL_ERROR_LENGTH when `bytes` is not what they take.
int32_t cl_codec_decode(uint8_t codec, int8_t zero_point, const uint8_t *data, uint32_t bytes,
                        uint32_t count, int8_t *y) CL_CHECK_RESULT;

// Which elements have no gradient: those whose code is that of a clamped end of the range.
struct cl_mask {
    uint8_t activation_codec;
    uint8_t code_min;
    uint8_t code_max;
};

struct cl_mask cl_mask_of(uint8_t activation_codec, int8_t activation_min, int8_t activation_max);
int32_t cl_mask_has(const struct cl_mask *mask, int8_t y);

// Bytes that the gradient of `count` elements takes.
uint32_t cl_codec_gradient_bytes(uint8_t codec, const struct cl_mask *mask, const int8_t *y,
                                 uint32_t count);

// Expands the gradient of the next `count` elements: 0 where masked, else the next code of `data`.
// `code` is the number of codes taken from `data` so far; the caller has checked its length.
// Returns 0, or CL_ERROR_VALUE for the lowest value of the width.
int32_t cl_codec_gradient_decode(uint8_t codec, const struct cl_mask *mask, const int8_t *y,
                                 uint32_t count, const uint8_t *data, uint32_t *code,
                                 int8_t *g) CL_CHECK_RESULT;

// The other direction, for a host in C: packs what is not masked. Returns the bytes of `data`,
// CL_ERROR_MEMORY or CL_ERROR_VALUE.
int32_t cl_codec_gradient_encode(uint8_t codec, const struct cl_mask *mask, const int8_t *y,
                                 uint32_t count, const int8_t *g, uint8_t *data,
                                 uint32_t capacity) CL_CHECK_RESULT;

#endif
