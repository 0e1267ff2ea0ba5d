// Requantization of the trainable layer: scales, int8 weights, int32 bias and multipliers, per
// channel.
#include "requantize.h"
#include "train_state.h"

#define WEIGHT_MAX 127.0f
#define BIAS_MAX 1073741824.0f           // 2^30
#define SCALE_MIN 9.094947017729282e-13f // 2^-40

int32_t cl_quantize_multiplier(double real, int32_t *multiplier, int8_t *shift)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    if ((bits >> 63) != 0) {
        return CL_ERROR_VALUE;
    }
    // frexp's exponent: real = q * 2^exponent, 1/2 <= q < 1 (subnormals end up below -31 all the
    // same)
    int32_t exponent = (int32_t)(bits >> 52) - 1022;
    // q * 2^31, rounded half up: 53 bits of mantissa to 31
    const uint64_t mantissa = (bits & (((uint64_t)1 << 52) - 1u)) | ((uint64_t)1 << 52);
    uint32_t fixed = (uint32_t)((mantissa + ((uint64_t)1 << 21)) >> 22);
    if (fixed == (uint32_t)1 << 31) {
        fixed >>= 1;
        exponent++;
    }
    if (exponent > 30) {
        return CL_ERROR_VALUE;
    }
    const bool vanishes = exponent < -31;
    *multiplier = vanishes ? 0 : (int32_t)fixed;
    *shift = vanishes ? 0 : (int8_t)exponent;
    return CL_OK;
}

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
    double product = (double)layer->input_scale * (double)channel->weight_scale;
    if (layer->kind == CL_LAYER_DENSE && layer->channel_count == 1) {
        // One scale is per-tensor to TFLM, and its fully connected layer then multiplies in float.
        product = (double)(layer->input_scale * channel->weight_scale);
    }
    return cl_quantize_multiplier(product / (double)output_scale, &channel->multiplier,
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
    if (!(channel->bias_scale > 0.0f) || !cl_is_finite(channel->bias_scale)) {
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
    if (!(output_scale > 0.0f) || !cl_is_finite(output_scale)) {
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
