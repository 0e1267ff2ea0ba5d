// The update of the trainable layer: optimizer on the master weights, then requantization, channel
// by channel.
#include "train_state.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)
// Both are correctly rounded; the instruction spares the library's errno.
static float square_root(float x)
{
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
    return root;
}
#else
#include <math.h>
static float square_root(float x)
{
    return sqrtf(x);
}
#endif

// What one step needs besides the state.
struct step {
    float weight_factor; // dW = dW_q * this
    float bias_factor;   // db = db_q * this
    float rate;          // SGD: the learning rate; Adam: with the bias correction
};

// New value of one parameter and its moments.
struct parameter {
    float value;
    float moment1;
    float moment2;
};

static struct parameter sgd(const struct cl_train *train, uint32_t p, float gradient, float rate)
{
    struct parameter next = {0.0f, 0.0f, 0.0f};
    next.moment1 = train->config.momentum * train->moment1[p] + gradient;
    next.value = train->master[p] - rate * next.moment1;
    return next;
}

static struct parameter adam(const struct cl_train *train, uint32_t p, float gradient, float rate)
{
    const float beta1 = train->config.momentum;
    const float beta2 = train->config.beta2;
    struct parameter next;
    next.moment1 = beta1 * train->moment1[p] + (1.0f - beta1) * gradient;
    next.moment2 = beta2 * train->moment2[p] + (1.0f - beta2) * (gradient * gradient);
    const float divisor = square_root(next.moment2) + train->config.epsilon;
    next.value = train->master[p] - cl_divide(rate * next.moment1, divisor);
    return next;
}

// Updates parameter p; keeps it only when told to. Returns false when it would not be finite.
static bool update_parameter(struct cl_train *train, uint32_t p, float factor, float rate,
                             bool keep, float *value)
{
    const bool is_adam = train->config.optimizer == CL_OPTIMIZER_ADAM;
    const float gradient = (float)train->accumulator[p] * factor;
    const struct parameter next =
        is_adam ? adam(train, p, gradient, rate) : sgd(train, p, gradient, rate);
    if (!cl_is_finite(next.value) || !cl_is_finite(next.moment1) || !cl_is_finite(next.moment2)) {
        return false;
    }
    if (keep) {
        train->master[p] = next.value;
        train->moment1[p] = next.moment1;
        if (is_adam) {
            train->moment2[p] = next.moment2;
        }
    }
    *value = next.value;
    return true;
}

// Updates the weights and the bias of output channel o, and requantizes them. Without `keep` it
// only says whether that would go well.
static int32_t update_channel(struct cl_train *train, uint16_t o, struct step step, bool keep)
{
    const struct cl_channel_span span = cl_channel_span(train->layer, o);
    const uint32_t b = train->layer->weight_count + o;
    float weight_max = 0.0f;
    float value = 0.0f;

    for (uint32_t k = 0, w = span.first; k < span.count; k++, w += span.stride) {
        if (!update_parameter(train, w, step.weight_factor, step.rate, keep, &value)) {
            return CL_ERROR_VALUE;
        }
        const float magnitude = value < 0.0f ? -value : value;
        weight_max = magnitude > weight_max ? magnitude : weight_max;
    }
    if (!update_parameter(train, b, step.bias_factor, step.rate, keep, &value)) {
        return CL_ERROR_VALUE;
    }

    struct cl_channel channel;
    const int32_t result = cl_channel_scale(train, weight_max, value, &channel);
    if (result < 0 || !keep) {
        return result;
    }
    for (uint32_t k = 0, w = span.first; k < span.count; k++, w += span.stride) {
        train->weights[w] = (int8_t)cl_quantize(train->master[w], channel.weight_scale);
    }
    train->bias[o] = cl_quantize(train->master[b], channel.bias_scale);
    train->weight_scale[o] = channel.weight_scale;
    train->multiplier[o] = channel.multiplier;
    train->shift[o] = channel.shift;
    return CL_OK;
}

int32_t cl_train_apply(struct cl_train *train, float gradient_scale, float learning_rate)
{
    if (!(gradient_scale > 0.0f) || !cl_is_finite(gradient_scale) || !(learning_rate > 0.0f) ||
        !cl_is_finite(learning_rate)) {
        return CL_ERROR_VALUE;
    }
    const float beta1_power = train->beta1_power * train->config.momentum;
    const float beta2_power = train->beta2_power * train->config.beta2;
    struct step step = {gradient_scale * train->layer->input_scale, gradient_scale, learning_rate};
    if (train->config.optimizer == CL_OPTIMIZER_ADAM) {
        step.rate = cl_divide(learning_rate * square_root(1.0f - beta2_power), 1.0f - beta1_power);
    }

    // Once to see that every weight stays finite, once to keep them: there is no room for a second
    // copy.
    for (int8_t keep = 0; keep < 2; keep++) {
        for (uint16_t o = 0; o < train->layer->channel_count; o++) {
            const int32_t result = update_channel(train, o, step, keep != 0);
            if (result < 0) {
                return result;
            }
        }
    }
    train->beta1_power = beta1_power;
    train->beta2_power = beta2_power;
    train->step++;
    cl_train_clear(train);
    return CL_OK;
}
