#include "cutlayer/codec.h"
#include "fuzz.h"

#define COUNT_MAX 300u

static const uint8_t activation_codecs[] = {0, 1, 2, 16, 17, 18};

// Any bytes as the data of a PIECE: what decodes, encodes to values that decode to themselves.
static void fuzz_activation(const uint8_t *data, uint32_t bytes)
{
    uint8_t codec = activation_codecs[chosen_below(6)];
    int8_t zero_point = (int8_t)chosen_below(256);
    uint32_t count = 1 + chosen_below(COUNT_MAX);
    int8_t *y = block_of(count), *again = block_of(count);
    int32_t result = cl_codec_decode(codec, zero_point, data, bytes, count, y);
    check(result == 0 || result == CL_ERROR_LENGTH, "data decodes or has the wrong length");
    if (result != 0) {
        for (uint32_t i = 0; i < count; i++) {
            y[i] = (int8_t)(bytes ? data[i % bytes] : 0);
        }
    }
    uint32_t capacity = chosen_below(2 * COUNT_MAX);
    uint8_t *packed = block_of(capacity ? capacity : 1);
    struct cl_encoder encoder;
    cl_codec_begin(&encoder, codec, zero_point, 0, NULL, capacity);
    uint32_t fit = cl_codec_put(&encoder, y, count);
    check(fit <= count, "no more fits than there is");
    if (fit > 0) {
        const uint32_t counted = cl_codec_bytes(&encoder), part = fit / 3;
        cl_codec_begin(&encoder, codec, zero_point, fit, packed, capacity);
        check(cl_codec_put(&encoder, y, part) == part, "a part of what fits is encoded");
        check(cl_codec_put(&encoder, y + part, fit - part) == fit - part, "so is the rest");
        const uint32_t length = cl_codec_bytes(&encoder);
        check(length == counted && length <= capacity, "to as many bytes as were counted");
        check(cl_codec_decode(codec, zero_point, packed, length, fit, again) == 0,
              "what was encoded decodes");
        for (uint32_t i = 0; i < fit; i++) {
            check(again[i] == cl_codec_value(codec & 15, cl_codec_code(codec & 15, y[i])) &&
                      (result != 0 || again[i] == y[i]),
                  "elements come back as they were sent");
        }
        reached(REACH_CODED, 1);
    }
    if (fit < count) {
        cl_codec_begin(&encoder, codec, zero_point, fit + 1, packed, capacity);
        check(cl_codec_put(&encoder, y, fit + 1) <= fit, "one more would not fit");
    }
    free(packed);
    free(again);
    free(y);
}

// Any bytes as a gradient behind a mask, in two parts.
static void fuzz_gradient(const uint8_t *data, uint32_t bytes)
{
    uint8_t codec = (uint8_t)chosen_below(3);
    uint32_t count = 1 + chosen_below(COUNT_MAX);
    struct cl_clamp clamp = cl_clamp_of(activation_codecs[chosen_below(6)],
                                        (int8_t)chosen_below(256), (int8_t)chosen_below(256));
    int8_t *y = block_of(count), *g = block_of(count);
    uint8_t *mask = block_of(CL_MASK_BYTES(count));
    for (uint32_t i = 0; i < count; i++) {
        y[i] = (int8_t)(noise_u32() & 0xF0u);
        cl_mask_put(mask, &clamp, i, y + i, 1);
    }
    uint32_t length = cl_codec_gradient_bytes(codec, mask, 0, count), code = 0;
    check(length <= count, "a code takes a byte at most");
    uint8_t *packed = block_of(length ? length : 1), *again = block_of(length ? length : 1);
    for (uint32_t i = 0; i < length; i++) {
        packed[i] = bytes ? data[i % bytes] : 0;
    }
    uint32_t first = chosen_below(count + 1);
    int32_t result = cl_codec_gradient_decode(codec, mask, 0, first, packed, &code, g);
    if (result == 0) {
        result =
            cl_codec_gradient_decode(codec, mask, first, count - first, packed, &code, g + first);
    }
    check(result == 0 || result == CL_ERROR_VALUE, "a gradient decodes or has a value too low");
    if (result == 0) {
        for (uint32_t i = 0; i < count; i++) {
            check(g[i] > -128 && (!(mask[i / 8] >> i % 8 & 1) || g[i] == 0), "masked is 0");
        }
        check(cl_codec_gradient_encode(codec, mask, 0, count, g, again, length) == (int32_t)length,
              "a gradient encodes to as many bytes");
        int8_t *back = block_of(count);
        code = 0;
        check(cl_codec_gradient_decode(codec, mask, 0, count, again, &code, back) == 0 &&
                  memcmp(back, g, count) == 0,
              "a gradient comes back as it was");
        free(back);
        reached(REACH_CODED, 1);
    }
    free(again);
    free(packed);
    free(mask);
    free(g);
    free(y);
}

void fuzz_codec(const uint8_t *data, size_t size)
{
    if (chosen_below(2)) {
        fuzz_activation(data, (uint32_t)size);
    } else {
        fuzz_gradient(data, (uint32_t)size);
    }
    (void)data;
}
