// Requantization of the trainable layer: scales, int8 weights, int32 bias and multipliers, per
// channel.
#include "float_bits.h"
#include "train_state.h"

#define WEIGHT_MAX 127.0f
#define BIAS_MAX 1073741824.0f           // 2^30
#define SCALE_MIN 9.094947017729282e-13f // 2^-40

int32_t cl_quantize(float x, float scale)
{
    // Truncate and look at the rest, which is exact: adding a half would round 0.49999997 up.
    const float quotient = x / scale;
    const int32_t whole = (int32_t)quotient;
    const float rest = quotient - (float)whole;
    return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

int32_t cl_channel_multiplier(const struct cl_train *train, float output_scale,
                              struct cl_channel *channel)
{
    const struct cl_trainable *layer = train->layer;
    float first = layer->input_scale;
    float second = channel->weight_scale;
    if (layer->kind == CL_LAYER_DENSE && layer->channel_count == 1) {
        // One scale is per-tensor to TFLM, and its fully connected layer then multiplies in float.
        first *= second;
        second = 1.0f;
    }
    return cl_quantize_multiplier(first, second, output_scale, &channel->multiplier,
                                  &channel->shift);
}

int32_t cl_channel_scale(const struct cl_train *train, float weight_max, float bias,
                         struct cl_channel *channel)
{
    const float magnitude = bias < 0.0f ? -bias : bias;
    const float for_bias = magnitude / (train->layer->input_scale * BIAS_MAX);
    float scale = weight_max / WEIGHT_MAX;
    scale = for_bias > scale ? for_bias : scale;
    scale = SCALE_MIN > scale ? SCALE_MIN : scale;
    channel->weight_scale = scale;
    channel->bias_scale = train->layer->input_scale * scale;
    if (!cl_is_positive(channel->bias_scale)) {
        return CL_ERROR_VALUE;
    }
    return cl_channel_multiplier(train, train->output_scale, channel);
}

struct cl_range cl_activation_range(enum cl_activation activation, float output_scale,
                                    int8_t output_zero_point)
{
    struct cl_range range = {INT8_MIN, INT8_MAX, true, true};
    if (activation != CL_ACTIVATION_NONE) {
        range.low = output_zero_point;
        range.low_saturates = false;
    }
    // Six is inside the range when 6 / scale <= 255; without the first test the quotient might not
    // fit int32.
    if (activation == CL_ACTIVATION_RELU6 && output_scale > 6.0f / 256.0f) {
        const int32_t six = output_zero_point + cl_quantize(6.0f, output_scale);
        if (six <= INT8_MAX) {
            range.high = (int8_t)six;
            range.high_saturates = false;
        }
    }
    return range;
}

int32_t cl_train_rescale(struct cl_train *train, float output_scale, int8_t output_zero_point)
{
    if (!cl_is_positive(output_scale)) {
        return CL_ERROR_VALUE;
    }
    // Once to see that every channel has a multiplier, once to keep them.
    for (int8_t keep = 0; keep < 2; keep++) {
        for (uint16_t o = 0; o < train->layer->channel_count; o++) {
            struct cl_channel channel = {train->weight_scale[o], 0.0f, 0, 0};
            const int32_t result = cl_channel_multiplier(train, output_scale, &channel);
            if (result < 0) {
                return result;
            }
            if (keep) {
                train->multiplier[o] = channel.multiplier;
                train->shift[o] = channel.shift;
            }
        }
    }
    const struct cl_range range =
        cl_activation_range(train->layer->activation, output_scale, output_zero_point);
    train->output_scale = output_scale;
    train->params.output_zero_point = output_zero_point;
    train->params.activation_min = range.low;
    train->params.activation_max = range.high;
    return CL_OK;
}
