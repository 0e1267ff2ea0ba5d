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

// Encodes a piece of a tensor, some elements at a time.
struct cl_encoder {
    uint8_t *data; // null: counts the bytes and writes none
    uint32_t capacity;
    uint32_t count; // elements of the piece, whose bitmap comes first; not known when counting
    uint32_t taken; // elements so far
    uint32_t codes; // of them, those that are sent
    uint8_t codec;
    uint8_t zero; // the code that zero suppression leaves out
};

// Begins a piece of `count` elements in `data`, or with null counts how many fit in `capacity`.
void cl_codec_begin(struct cl_encoder *encoder, uint8_t codec, int8_t zero_point, uint32_t count,
                    uint8_t *data, uint32_t capacity);

// Takes the next elements. Returns how many fitted: fewer than `count` when no more do. When
// counting without zero suppression, `y` may be null: it is not looked at.
uint32_t cl_codec_put(struct cl_encoder *encoder, const int8_t *y, uint32_t count) CL_CHECK_RESULT;

// The bytes of `data` so far.
uint32_t cl_codec_bytes(const struct cl_encoder *encoder);

// Decodes `count` elements. Returns 0, or CL_ERROR_LENGTH when `bytes` is not what they take.
int32_t cl_codec_decode(uint8_t codec, int8_t zero_point, const uint8_t *data, uint32_t bytes,
                        uint32_t count, int8_t *y) CL_CHECK_RESULT;

// Which elements have no gradient: those whose code is that of a clamped end of the range. A mask
// has a bit for each element, from the lowest of each byte up, 1 where there is none.
#define CL_MASK_BYTES(count) (((uint32_t)(count) + 7u) / 8u)

struct cl_clamp {
    uint8_t activation_codec;
    uint8_t code_min;
    uint8_t code_max;
};

struct cl_clamp cl_clamp_of(uint8_t activation_codec, int8_t activation_min, int8_t activation_max);

// Sets the mask's bits of elements [first, first + count), which are `y`.
void cl_mask_put(uint8_t *mask, const struct cl_clamp *clamp, uint32_t first, const int8_t *y,
                 uint32_t count);

// Bytes that the gradient of elements [first, first + count) takes.
uint32_t cl_codec_gradient_bytes(uint8_t codec, const uint8_t *mask, uint32_t first,
                                 uint32_t count);

// Expands the gradient of elements [first, first + count): 0 where masked, else the next code of
// `data`. `code` is the number of codes taken from `data` so far; the caller has checked its
// length. Returns 0, or CL_ERROR_VALUE for the lowest value of the width.
int32_t cl_codec_gradient_decode(uint8_t codec, const uint8_t *mask, uint32_t first, uint32_t count,
                                 const uint8_t *data, uint32_t *code, int8_t *g) CL_CHECK_RESULT;

// The other direction, for a host in C: packs what is not masked. Returns the bytes of `data`,
// CL_ERROR_MEMORY or CL_ERROR_VALUE.
int32_t cl_codec_gradient_encode(uint8_t codec, const uint8_t *mask, uint32_t first, uint32_t count,
                                 const int8_t *g, uint8_t *data, uint32_t capacity) CL_CHECK_RESULT;

#endif
