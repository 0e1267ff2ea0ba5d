#include "cutlayer/codec.h"

// A code of width w has 8 >> w bits; 2^w of them are packed in a byte, from the low bits up.

static uint8_t width_of(uint8_t codec)
{
    return codec & 3u;
}

static uint32_t packed_bytes(uint8_t width, uint32_t codes)
{
    return (codes >> width) + ((codes & ((1u << width) - 1u)) != 0);
}

static uint32_t bitmap_bytes(uint32_t count)
{
    return (count >> 3) + ((count & 7u) != 0);
}

static void pack(uint8_t width, uint8_t *data, uint32_t index, uint8_t code)
{
    uint32_t bits = 8u >> width;
    uint32_t shift = (index & ((1u << width) - 1u)) * bits;
    uint8_t *byte = data + (index >> width);
    if (shift == 0) {
        *byte = 0;
    }
    *byte = (uint8_t)(*byte | (code & ((1u << bits) - 1u)) << shift);
}

static uint8_t unpack(uint8_t width, const uint8_t *data, uint32_t index)
{
    uint32_t bits = 8u >> width;
    uint32_t shift = (index & ((1u << width) - 1u)) * bits;
    return (uint8_t)((uint32_t)data[index >> width] >> shift & ((1u << bits) - 1u));
}

int32_t cl_codec_is_gradient(uint8_t codec)
{
    return codec <= CL_CODEC_INT2;
}

int32_t cl_codec_is_activation(uint8_t codec)
{
    return (codec & ~CL_CODEC_SUPPRESSED) <= CL_CODEC_INT2;
}

uint8_t cl_codec_code(uint8_t codec, int8_t y)
{
    uint8_t u = (uint8_t)(y + 128);
    switch (width_of(codec)) {
    case CL_CODEC_INT8:
        return u;
    case CL_CODEC_INT4:
        return (uint8_t)((u + 8) / 17);
    default:
        return (uint8_t)((u + 42) / 85);
    }
}

int8_t cl_codec_value(uint8_t codec, uint8_t code)
{
    static const uint8_t steps[3] = {1, 17, 85};
    return (int8_t)(steps[width_of(codec)] * code - 128);
}

void cl_codec_begin(struct cl_encoder *encoder, uint8_t codec, int8_t zero_point, uint32_t count,
                    uint8_t *data, uint32_t capacity)
{
    const struct cl_encoder begun = {.data = data,
                                     .capacity = capacity,
                                     .count = data ? count : 0,
                                     .codec = codec,
                                     .zero = cl_codec_code(codec, zero_point)};
    *encoder = begun;
}

// The bytes of `taken` elements with `codes` codes.
static uint32_t bytes_of(const struct cl_encoder *encoder, uint32_t taken, uint32_t codes)
{
    const uint32_t whole = taken > encoder->count ? taken : encoder->count;
    const uint32_t first = encoder->codec & CL_CODEC_SUPPRESSED ? bitmap_bytes(whole) : 0;
    return first + packed_bytes(width_of(encoder->codec), codes);
}

uint32_t cl_codec_bytes(const struct cl_encoder *encoder)
{
    return bytes_of(encoder, encoder->taken, encoder->codes);
}

// Without zero suppression: every element is sent.
static uint32_t put_all(struct cl_encoder *encoder, const int8_t *y, uint32_t count)
{
    const uint8_t width = width_of(encoder->codec);
    const uint32_t most = encoder->capacity << width, left = most - encoder->taken;
    count = count < left ? count : left;
    for (uint32_t i = 0; encoder->data && i < count; i++) {
        pack(width, encoder->data, encoder->taken + i, cl_codec_code(encoder->codec, y[i]));
    }
    encoder->taken += count;
    encoder->codes += count;
    return count;
}

uint32_t cl_codec_put(struct cl_encoder *encoder, const int8_t *y, uint32_t count)
{
    const uint8_t width = width_of(encoder->codec);
    if (!(encoder->codec & CL_CODEC_SUPPRESSED)) {
        return put_all(encoder, y, count);
    }
    uint8_t *const bitmap = encoder->data;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t code = cl_codec_code(encoder->codec, y[i]);
        const uint32_t at = encoder->taken, is_sent = code != encoder->zero;
        if (bytes_of(encoder, at + 1, encoder->codes + is_sent) > encoder->capacity) {
            return i;
        }
        if (bitmap && (at & 7u) == 0) {
            bitmap[at >> 3] = 0;
        }
        if (bitmap && is_sent) {
            bitmap[at >> 3] = (uint8_t)(bitmap[at >> 3] | 1u << (at & 7u));
            pack(width, bitmap + bitmap_bytes(encoder->count), encoder->codes, code);
        }
        encoder->taken++;
        encoder->codes += is_sent;
    }
    return count;
}

int32_t cl_codec_decode(uint8_t codec, int8_t zero_point, const uint8_t *data, uint32_t bytes,
                        uint32_t count, int8_t *y)
{
    uint8_t width = width_of(codec);
    uint32_t first = codec & CL_CODEC_SUPPRESSED ? bitmap_bytes(count) : 0;
    uint32_t codes = first > 0 ? 0 : count;
    if (bytes < first) {
        return CL_ERROR_LENGTH;
    }
    for (uint32_t i = 0; first > 0 && i < count; i++) {
        codes += (uint32_t)data[i >> 3] >> (i & 7u) & 1u;
    }
    if (bytes != first + packed_bytes(width, codes)) {
        return CL_ERROR_LENGTH;
    }
    uint8_t zero = cl_codec_code(codec, zero_point);
    codes = 0;
    for (uint32_t i = 0; i < count; i++) {
        int is_sent = first == 0 || ((uint32_t)data[i >> 3] >> (i & 7u) & 1u);
        uint8_t code = is_sent ? unpack(width, data + first, codes++) : zero;
        y[i] = cl_codec_value(codec, code);
    }
    return 0;
}

struct cl_clamp cl_clamp_of(uint8_t activation_codec, int8_t activation_min, int8_t activation_max)
{
    struct cl_clamp clamp = {activation_codec, cl_codec_code(activation_codec, activation_min),
                             cl_codec_code(activation_codec, activation_max)};
    return clamp;
}

void cl_mask_put(uint8_t *mask, const struct cl_clamp *clamp, uint32_t first, const int8_t *y,
                 uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        const uint8_t code = cl_codec_code(clamp->activation_codec, *y++);
        const uint8_t bit = (uint8_t)(1u << (i & 7u));
        const int is_clamped = code == clamp->code_min || code == clamp->code_max;
        mask[i >> 3] = (uint8_t)(is_clamped ? mask[i >> 3] | bit : mask[i >> 3] & ~bit);
    }
}

static int is_masked(const uint8_t *mask, uint32_t element)
{
    return (int)((uint32_t)mask[element >> 3] >> (element & 7u) & 1u);
}

uint32_t cl_codec_gradient_bytes(uint8_t codec, const uint8_t *mask, uint32_t first, uint32_t count)
{
    uint32_t codes = 0;
    for (uint32_t i = first; i < first + count; i++) {
        codes += !is_masked(mask, i);
    }
    return packed_bytes(width_of(codec), codes);
}

int32_t cl_codec_gradient_decode(uint8_t codec, const uint8_t *mask, uint32_t first, uint32_t count,
                                 const uint8_t *data, uint32_t *code, int8_t *g)
{
    uint8_t width = width_of(codec);
    uint8_t sign = (uint8_t)(0x80u >> (8u - (8u >> width)));
    for (uint32_t i = 0; i < count; i++) {
        g[i] = 0;
        if (is_masked(mask, first + i)) {
            continue;
        }
        uint8_t bits = unpack(width, data, (*code)++);
        if (bits == sign) {
            return CL_ERROR_VALUE;
        }
        g[i] = (int8_t)((bits ^ sign) - sign);
    }
    return 0;
}

int32_t cl_codec_gradient_encode(uint8_t codec, const uint8_t *mask, uint32_t first, uint32_t count,
                                 const int8_t *g, uint8_t *data, uint32_t capacity)
{
    uint8_t width = width_of(codec);
    int8_t most = (int8_t)((0x80u >> (8u - (8u >> width))) - 1u);
    uint32_t codes = 0;
    if (cl_codec_gradient_bytes(codec, mask, first, count) > capacity) {
        return CL_ERROR_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (g[i] > most || g[i] < -most) {
            return CL_ERROR_VALUE;
        }
        if (!is_masked(mask, first + i)) {
            pack(width, data, codes++, (uint8_t)g[i]);
        }
    }
    return (int32_t)packed_bytes(width, codes);
}
