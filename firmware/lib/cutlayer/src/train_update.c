// The update of the trainable layer: optimizer on the master weights, then requantization, channel
// by channel.
#include "train_state.h"

#include <float.h>

#include "bfloat16.h"

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

// Parameters that are float32 at a time where they are kept as bfloat16.
#define BLOCK_COUNT 16
// A bias is quantized apart; as a weight it gives a zero that is not kept.
#define BIAS_SCALE FLT_MAX

// What one step needs besides the state.
struct step {
    float weight_factor; // dW = dW_q * this
    float bias_factor;   // db = db_q * this
    float rate;          // SGD: the learning rate; Adam: with the bias correction
    struct cl_train_config config;
};

// Some parameters, `stride` apart: pointers of their own, which no store can change.
struct parameters {
    const int32_t *gradient;
    float *master;
    float *moment1;
    float *moment2;
    int8_t *weights;
    uint32_t stride;
    uint32_t count;
};

// New value of one parameter and its moments.
struct parameter {
    float value;
    float moment1;
    float moment2;
};

static inline struct parameter sgd(const struct step *step, float factor,
                                   const struct parameters *p, uint32_t k)
{
    struct parameter next = {0.0f, 0.0f, 0.0f};
    next.moment1 = step->config.momentum * p->moment1[k] + (float)p->gradient[k] * factor;
    next.value = p->master[k] - step->rate * next.moment1;
    return next;
}

static inline struct parameter adam(const struct step *step, float factor,
                                    const struct parameters *p, uint32_t k)
{
    const float beta1 = step->config.momentum, beta2 = step->config.beta2;
    const float gradient = (float)p->gradient[k] * factor;
    struct parameter next;
    next.moment1 = beta1 * p->moment1[k] + (1.0f - beta1) * gradient;
    next.moment2 = beta2 * p->moment2[k] + (1.0f - beta2) * (gradient * gradient);
    const float divisor = square_root(next.moment2) + step->config.epsilon;
    next.value = p->master[k] - cl_divide(step->rate * next.moment1, divisor);
    return next;
}

// The largest magnitude among parameters, as bits of a float shifted left by its sign: they compare
// as the magnitudes do, infinity and NaN above all numbers.
static inline uint32_t larger(uint32_t largest, float x)
{
    const uint32_t magnitude = cl_float_bits(x) << 1;
    return magnitude > largest ? magnitude : largest;
}

static inline float magnitude_of(uint32_t largest)
{
    const uint32_t bits = largest >> 1;
    float magnitude;
    memcpy(&magnitude, &bits, sizeof magnitude);
    return magnitude;
}

static inline bool are_finite(uint32_t largest)
{
    return largest < 0xFF000000u;
}

static inline void advance(struct parameters *p, uint32_t count)
{
    p->gradient += count * p->stride;
    p->master += count * p->stride;
    p->moment1 += count * p->stride;
    p->weights += count * p->stride;
    p->count -= count;
}

// What would be the largest. Parameters side by side go in fours.
static uint32_t sgd_largest(const struct step step, float factor, struct parameters p)
{
    uint32_t largest = 0;
    for (; CL_TRAIN_FAST && p.stride == 1 && p.count >= 4; advance(&p, 4)) {
        largest = larger(largest, sgd(&step, factor, &p, 0).value);
        largest = larger(largest, sgd(&step, factor, &p, 1).value);
        largest = larger(largest, sgd(&step, factor, &p, 2).value);
        largest = larger(largest, sgd(&step, factor, &p, 3).value);
    }
    for (; p.count > 0; advance(&p, 1)) {
        largest = larger(largest, sgd(&step, factor, &p, 0).value);
    }
    return largest;
}

// A first moment that is not finite leaves no finite value; a second moment can.
static uint32_t adam_largest(const struct step step, float factor, struct parameters p)
{
    uint32_t largest = 0;
    for (uint32_t k = 0; k < p.count * p.stride; k += p.stride) {
        const struct parameter next = adam(&step, factor, &p, k);
        largest = larger(largest, cl_is_finite(next.moment2) ? next.value : next.moment2);
    }
    return largest;
}

static inline void keep_sgd(const struct step *step, float factor, const struct parameters *p,
                            uint32_t k, float scale)
{
    const struct parameter next = sgd(step, factor, p, k);
    p->moment1[k] = next.moment1;
    p->master[k] = next.value;
    p->weights[k] = cl_quantize_weight(next.value, scale);
}

static void sgd_update(const struct step step, float factor, struct parameters p, float scale)
{
    for (; CL_TRAIN_FAST && p.stride == 1 && p.count >= 4; advance(&p, 4)) {
        keep_sgd(&step, factor, &p, 0, scale);
        keep_sgd(&step, factor, &p, 1, scale);
        keep_sgd(&step, factor, &p, 2, scale);
        keep_sgd(&step, factor, &p, 3, scale);
    }
    for (; p.count > 0; advance(&p, 1)) {
        keep_sgd(&step, factor, &p, 0, scale);
    }
}

static void adam_update(const struct step step, float factor, struct parameters p, float scale)
{
    for (uint32_t k = 0; k < p.count * p.stride; k += p.stride) {
        const struct parameter next = adam(&step, factor, &p, k);
        p.moment1[k] = next.moment1;
        p.moment2[k] = next.moment2;
        p.master[k] = next.value;
        p.weights[k] = cl_quantize_weight(next.value, scale);
    }
}

static uint32_t find_largest(const struct step *step, float factor, const struct parameters *p)
{
    return step->config.optimizer == CL_OPTIMIZER_ADAM ? adam_largest(*step, factor, *p)
                                                       : sgd_largest(*step, factor, *p);
}

static void update(const struct step *step, float factor, const struct parameters *p, float scale)
{
    if (step->config.optimizer == CL_OPTIMIZER_ADAM) {
        adam_update(*step, factor, *p, scale);
    } else {
        sgd_update(*step, factor, *p, scale);
    }
}

// --- bfloat16 ---

// Some parameters as float32, side by side.
struct block {
    int32_t gradient[BLOCK_COUNT];
    float value[3][BLOCK_COUNT]; // master, moments
    int8_t weights[BLOCK_COUNT];
};

static struct parameters widen(const struct cl_train *train, const struct cl_channel_span *span,
                               uint32_t start, struct block *block)
{
    const uint32_t left = span->count - start;
    const uint32_t count = left < BLOCK_COUNT ? left : BLOCK_COUNT;
    uint32_t p = span->first + start * span->stride;
    for (uint32_t k = 0; k < count; k++, p += span->stride) {
        block->gradient[k] = train->accumulator[p];
        for (uint32_t i = 0; i < 3 && train->bfloat16[i]; i++) {
            block->value[i][k] = cl_from_bfloat16(train->bfloat16[i][p]);
        }
    }
    const struct parameters wide = {block->gradient,
                                    block->value[0],
                                    block->value[1],
                                    block->value[2],
                                    block->weights,
                                    1,
                                    count};
    return wide;
}

static void narrow(const struct cl_train *train, const struct cl_channel_span *span, uint32_t start,
                   uint32_t count, const struct block *block)
{
    uint32_t p = span->first + start * span->stride;
    for (uint32_t k = 0; k < count; k++, p += span->stride) {
        const uint32_t chance = cl_mix(cl_mix(train->step) + p);
        const uint32_t chances[3] = {chance & 0xFFFFu, chance >> 16, cl_mix(chance) & 0xFFFFu};
        for (uint32_t i = 0; i < 3 && train->bfloat16[i]; i++) {
            train->bfloat16[i][p] = cl_to_bfloat16(block->value[i][k], chances[i]);
        }
    }
}

// --- a channel ---

// The parameters of a span from `start` on: all of them, or the next block of them as float32.
// `weights`: where those of the span lie.
static struct parameters parameters_of(const struct cl_train *train,
                                       const struct cl_channel_span *span, uint32_t start,
                                       int8_t *weights, struct block *block)
{
    if (!train->master) {
        return widen(train, span, start, block);
    }
    const struct parameters p = {train->accumulator + span->first,
                                 train->master + span->first,
                                 train->moment1 + span->first,
                                 train->moment2 ? train->moment2 + span->first : NULL,
                                 weights,
                                 span->stride,
                                 span->count};
    return p;
}

static uint32_t largest_of(const struct cl_train *train, const struct step *step, float factor,
                           const struct cl_channel_span *span)
{
    uint32_t largest = 0;
    struct block block;
    for (uint32_t start = 0; start < span->count;) {
        const struct parameters p = parameters_of(train, span, start, train->weights, &block);
        const uint32_t of_these = find_largest(step, factor, &p);
        largest = of_these > largest ? of_these : largest;
        start += p.count;
    }
    return largest;
}

// Writes what the optimizer makes of a span, its weights from `weights` on. Returns the new value
// of a span of one, before it is narrowed.
static float update_span(struct cl_train *train, const struct step *step, float factor,
                         const struct cl_channel_span *span, int8_t *weights, float scale)
{
    struct block block;
    float value = 0.0f;
    for (uint32_t start = 0; start < span->count;) {
        const struct parameters p = parameters_of(train, span, start, weights, &block);
        update(step, factor, &p, scale);
        value = *p.master;
        if (!train->master) {
            narrow(train, span, start, p.count, &block);
            for (uint32_t k = 0; k < p.count; k++, weights += span->stride) {
                *weights = block.weights[k];
            }
        }
        start += p.count;
    }
    return value;
}

static struct cl_channel_span bias_span(const struct cl_train *train, uint16_t o)
{
    const struct cl_channel_span span = {train->layer->weight_count + o, 1, 1};
    return span;
}

// Works out the scales that channel o gets. Returns CL_ERROR_VALUE when a parameter would not stay
// finite, or no multiplier expresses its scale.
static int32_t look_at_channel(const struct cl_train *train, uint16_t o, const struct step *step,
                               struct cl_channel *channel)
{
    const struct cl_channel_span weights = cl_channel_span(train->layer, o);
    const struct cl_channel_span bias = bias_span(train, o);
    const uint32_t w = largest_of(train, step, step->weight_factor, &weights);
    const uint32_t b = largest_of(train, step, step->bias_factor, &bias);
    if (!are_finite(w) || !are_finite(b)) {
        return CL_ERROR_VALUE;
    }
    return cl_channel_scale(train, magnitude_of(w), magnitude_of(b), channel);
}

// Updates the weights and the bias of channel o, and requantizes them.
static void update_channel(struct cl_train *train, uint16_t o, const struct step *step,
                           struct cl_channel channel)
{
    const struct cl_channel_span weights = cl_channel_span(train->layer, o);
    const struct cl_channel_span bias = bias_span(train, o);
    int8_t unused;
    (void)update_span(train, step, step->weight_factor, &weights, train->weights + weights.first,
                      channel.weight_scale);
    const float value = update_span(train, step, step->bias_factor, &bias, &unused, BIAS_SCALE);
    train->bias[o] = cl_quantize(value, channel.bias_scale);
    train->weight_scale[o] = channel.weight_scale;
    train->multiplier[o] = channel.multiplier;
    train->shift[o] = channel.shift;
}

int32_t cl_train_apply(struct cl_train *train, float gradient_scale, float learning_rate)
{
    if (!cl_is_positive(gradient_scale) || !cl_is_positive(learning_rate)) {
        return CL_ERROR_VALUE;
    }
    const float beta1_power = train->beta1_power * train->config.momentum;
    const float beta2_power = train->beta2_power * train->config.beta2;
    struct step step = {gradient_scale * train->layer->input_scale, gradient_scale, learning_rate,
                        train->config};
    if (train->config.optimizer == CL_OPTIMIZER_ADAM) {
        step.rate = cl_divide(learning_rate * square_root(1.0f - beta2_power), 1.0f - beta1_power);
    }

    // Once to see that every weight stays finite, once to keep them: there is no room for a second
    // copy. What the first look finds is kept where no row of the gradient waits any more.
    struct cl_channel *channels = (struct cl_channel *)(void *)train->waiting;
    for (uint16_t o = 0; o < train->layer->channel_count; o++) {
        const int32_t result = look_at_channel(train, o, &step, &channels[o]);
        if (result < 0) {
            return result;
        }
    }
    for (uint16_t o = 0; o < train->layer->channel_count; o++) {
        update_channel(train, o, &step, channels[o]);
    }
    train->beta1_power = beta1_power;
    train->beta2_power = beta2_power;
    train->step++;
    cl_train_clear(train);
    return CL_OK;
}
