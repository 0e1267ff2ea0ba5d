#include "cutlayer/codec.h"

#include <string.h>

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

uint32_t cl_codec_fit(uint8_t codec, int8_t zero_point, const int8_t *y, uint32_t count,
                      uint32_t capacity)
{
    uint8_t width = width_of(codec);
    if (!(codec & CL_CODEC_SUPPRESSED)) {
        uint32_t most = capacity << width;
        return count < most ? count : most;
    }
    uint8_t zero = cl_codec_code(codec, zero_point);
    uint32_t codes = 0;
    for (uint32_t i = 0; i < count; i++) {
        codes += cl_codec_code(codec, y[i]) != zero;
        if (bitmap_bytes(i + 1) + packed_bytes(width, codes) > capacity) {
            return i;
        }
    }
    return count;
}

int32_t cl_codec_encode(uint8_t codec, int8_t zero_point, const int8_t *y, uint32_t count,
                        uint8_t *data, uint32_t capacity)
{
    uint8_t width = width_of(codec);
    if (cl_codec_fit(codec, zero_point, y, count, capacity) < count) {
        return CL_ERROR_MEMORY;
    }
    if (!(codec & CL_CODEC_SUPPRESSED)) {
        for (uint32_t i = 0; i < count; i++) {
            pack(width, data, i, cl_codec_code(codec, y[i]));
        }
        return (int32_t)packed_bytes(width, count);
    }
    uint32_t first = bitmap_bytes(count);
    uint8_t zero = cl_codec_code(codec, zero_point);
    uint32_t codes = 0;
    memset(data, 0, (size_t)first);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t code = cl_codec_code(codec, y[i]);
        if (code != zero) {
            data[i >> 3] = (uint8_t)(data[i >> 3] | 1u << (i & 7u));
            pack(width, data + first, codes++, code);
        }
    }
    return (int32_t)(first + packed_bytes(width, codes));
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

struct cl_mask cl_mask_of(uint8_t activation_codec, int8_t activation_min, int8_t activation_max)
{
    struct cl_mask mask = {activation_codec, cl_codec_code(activation_codec, activation_min),
                           cl_codec_code(activation_codec, activation_max)};
    return mask;
}

int32_t cl_mask_has(const struct cl_mask *mask, int8_t y)
{
    uint8_t code = cl_codec_code(mask->activation_codec, y);
    return code == mask->code_min || code == mask->code_max;
}

uint32_t cl_codec_gradient_bytes(uint8_t codec, const struct cl_mask *mask, const int8_t *y,
                                 uint32_t count)
{
    uint32_t codes = 0;
    for (uint32_t i = 0; i < count; i++) {
        codes += !cl_mask_has(mask, y[i]);
    }
    return packed_bytes(width_of(codec), codes);
}

int32_t cl_codec_gradient_decode(uint8_t codec, const struct cl_mask *mask, const int8_t *y,
                                 uint32_t count, const uint8_t *data, uint32_t *code, int8_t *g)
{
    uint8_t width = width_of(codec);
    uint8_t sign = (uint8_t)(0x80u >> (8u - (8u >> width)));
    for (uint32_t i = 0; i < count; i++) {
        g[i] = 0;
        if (cl_mask_has(mask, y[i])) {
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

int32_t cl_codec_gradient_encode(uint8_t codec, const struct cl_mask *mask, const int8_t *y,
                                 uint32_t count, const int8_t *g, uint8_t *data, uint32_t capacity)
{
    uint8_t width = width_of(codec);
    int8_t most = (int8_t)((0x80u >> (8u - (8u >> width))) - 1u);
    uint32_t codes = 0;
    if (cl_codec_gradient_bytes(codec, mask, y, count) > capacity) {
        return CL_ERROR_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (g[i] > most || g[i] < -most) {
            return CL_ERROR_VALUE;
        }
        if (!cl_mask_has(mask, y[i])) {
            pack(width, data, codes++, (uint8_t)g[i]);
        }
    }
    return (int32_t)packed_bytes(width, codes);
}
