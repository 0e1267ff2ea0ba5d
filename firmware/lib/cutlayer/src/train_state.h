// What the train*.c files share: requantization of one channel, and the layout of the weights.
#ifndef CUTLAYER_TRAIN_STATE_H
#define CUTLAYER_TRAIN_STATE_H

#include <stdbool.h>
#include <string.h>

#include "cutlayer/train.h"
#include "float_bits.h"

// Built for size (-Os), sums and parameters go one by one: less code, and the same numbers.
#if !defined(CL_TRAIN_FAST) && defined(__OPTIMIZE_SIZE__)
#define CL_TRAIN_FAST 0
#elif !defined(CL_TRAIN_FAST)
#define CL_TRAIN_FAST 1
#endif

// The int8 image of one output channel.
struct cl_channel {
    float weight_scale;
    float bias_scale; // input_scale * weight_scale
    int32_t multiplier;
    int8_t shift;
};

// Works out the channel's scales from its largest |weight| and its |bias|. Returns CL_ERROR_VALUE
// when they are not finite, or give a multiplier that no shift expresses.
int32_t cl_channel_scale(const struct cl_train *train, float weight_max, float bias,
                         struct cl_channel *channel) CL_CHECK_RESULT;

// Multiplier and shift of a channel whose weight scale is given, for `output_scale`. Returns as
// above.
int32_t cl_channel_multiplier(const struct cl_train *train, float output_scale,
                              struct cl_channel *channel) CL_CHECK_RESULT;

// x / scale, rounded half away from zero. |x / scale| < 2^31.
int32_t cl_quantize(float x, float scale);

// The same of a weight, |x / scale| < 2^7, in fewer instructions: of the truncated double the half
// is rounded up, in magnitude.
static inline int8_t cl_quantize_weight(float x, float scale)
{
    const float quotient = x / scale;
    const int32_t twice = (int32_t)(quotient + quotient);
    return (int8_t)((twice + 1 - (int32_t)((uint32_t)twice >> 31)) >> 1);
}

// The clamped ends of the output, and whether an output there is saturated: clamped by the int8
// range's end and not by a ReLU.
struct cl_range {
    int8_t low;
    int8_t high;
    bool low_saturates;
    bool high_saturates;
};

struct cl_range cl_activation_range(enum cl_activation activation, float output_scale,
                                    int8_t output_zero_point);

// Where channel o's weights lie: weights[first + k * stride], k < count.
struct cl_channel_span {
    uint32_t first;
    uint32_t stride;
    uint32_t count;
};

static inline struct cl_channel_span cl_channel_span(const struct cl_trainable *layer, uint16_t o)
{
    const uint32_t count = layer->weight_count / layer->channel_count;
    struct cl_channel_span span = {o * count, 1, count}; // [out][height][width][in]
    if (layer->kind == CL_LAYER_DEPTHWISE) {             // [height][width][out]
        span.first = o;
        span.stride = layer->channel_count;
    }
    return span;
}

#endif
