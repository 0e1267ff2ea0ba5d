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
    uint32_t fit = cl_codec_fit(codec, zero_point, y, count, capacity);
    check(fit <= count, "no more fits than there is");
    if (fit > 0) {
        int32_t length = cl_codec_encode(codec, zero_point, y, fit, packed, capacity);
        check(length > 0 && (uint32_t)length <= capacity, "what fits is encoded");
        check(cl_codec_decode(codec, zero_point, packed, (uint32_t)length, fit, again) == 0,
              "what was encoded decodes");
        for (uint32_t i = 0; i < fit; i++) {
            check(again[i] == cl_codec_value(codec & 15, cl_codec_code(codec & 15, y[i])) &&
                      (result != 0 || again[i] == y[i]),
                  "elements come back as they were sent");
        }
        reached(REACH_CODED, 1);
    }
    if (fit < count) {
        check(cl_codec_encode(codec, zero_point, y, fit + 1, packed, capacity) < 0,
              "one more would not fit");
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
    struct cl_mask mask = cl_mask_of(activation_codecs[chosen_below(6)], (int8_t)chosen_below(256),
                                     (int8_t)chosen_below(256));
    int8_t *y = block_of(count), *g = block_of(count);
    for (uint32_t i = 0; i < count; i++) {
        y[i] = (int8_t)(noise_u32() & 0xF0u);
    }
    uint32_t length = cl_codec_gradient_bytes(codec, &mask, y, count), code = 0;
    check(length <= count, "a code takes a byte at most");
    uint8_t *packed = block_of(length ? length : 1), *again = block_of(length ? length : 1);
    for (uint32_t i = 0; i < length; i++) {
        packed[i] = bytes ? data[i % bytes] : 0;
    }
    uint32_t first = chosen_below(count + 1);
    int32_t result = cl_codec_gradient_decode(codec, &mask, y, first, packed, &code, g);
    if (result == 0) {
        result = cl_codec_gradient_decode(codec, &mask, y + first, count - first, packed, &code,
                                          g + first);
    }
    check(result == 0 || result == CL_ERROR_VALUE, "a gradient decodes or has a value too low");
    if (result == 0) {
        for (uint32_t i = 0; i < count; i++) {
            check(g[i] > -128 && (!cl_mask_has(&mask, y[i]) || g[i] == 0), "masked is 0");
        }
        check(cl_codec_gradient_encode(codec, &mask, y, count, g, again, length) == (int32_t)length,
              "a gradient encodes to as many bytes");
        int8_t *back = block_of(count);
        code = 0;
        check(cl_codec_gradient_decode(codec, &mask, y, count, again, &code, back) == 0 &&
                  memcmp(back, g, count) == 0,
              "a gradient comes back as it was");
        free(back);
        reached(REACH_CODED, 1);
    }
    free(again);
    free(packed);
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
