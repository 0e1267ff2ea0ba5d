// The trainable layer: its state and its forward.
#include "train_state.h"

#include "bfloat16.h"
#include "cutlayer/codec.h"

static bool config_is_valid(const struct cl_train_config *config)
{
    const bool adam = config->optimizer == CL_OPTIMIZER_ADAM;
    if (!adam && config->optimizer != CL_OPTIMIZER_SGD) {
        return false;
    }
    // Comparisons with NaN are false, so NaN is refused too.
    if (!(config->momentum >= 0.0f && config->momentum < 1.0f)) {
        return false;
    }
    return !adam ||
           (config->beta2 >= 0.0f && config->beta2 < 1.0f && cl_is_positive(config->epsilon));
}

static uint32_t parameter_count(const struct cl_trainable *layer)
{
    return layer->weight_count + layer->channel_count;
}

// Pairs of waiting rows, channels rounded up to whole blocks.
static uint32_t waiting_count(const struct cl_trainable *layer)
{
    const uint32_t blocks = (layer->channel_count + CL_TRAIN_BLOCK - 1u) / CL_TRAIN_BLOCK;
    return blocks * CL_TRAIN_BLOCK * (CL_TRAIN_ROWS / 2);
}

uint32_t cl_train_bytes(const struct cl_trainable *layer, enum cl_optimizer optimizer)
{
    // Words: the accumulator; bias, multiplier and weight scale. Then master and one or two
    // moments, words or halves; then int8.
    const uint32_t words = parameter_count(layer) + 3u * layer->channel_count;
    const uint32_t vectors = optimizer == CL_OPTIMIZER_ADAM ? 3 : 2;
    const uint32_t size = layer->master == CL_MASTER_BFLOAT16 ? 2 : 4;
    const uint32_t bytes = 4u * words + (size * vectors + 1u) * parameter_count(layer);
    return (bytes + 7u) & ~(uint32_t)7u;
}

uint32_t cl_train_gradient_bytes(const struct cl_trainable *layer)
{
    const uint32_t outputs = cl_shape_count(layer->params->output);
    return 4u * waiting_count(layer) + layer->channel_count + CL_MASK_BYTES(outputs);
}

static void lay_out(struct cl_train *train, void *memory, void *gradient_memory)
{
    const struct cl_trainable *layer = train->layer;
    const uint32_t count = parameter_count(layer);
    const uint32_t vectors = train->config.optimizer == CL_OPTIMIZER_ADAM ? 3 : 2;

    train->weight_scale = memory;
    int32_t *integers = (int32_t *)memory + layer->channel_count;
    train->accumulator = integers;
    integers += count;
    train->bias = integers;
    integers += layer->channel_count;
    train->multiplier = integers;
    integers += layer->channel_count;
    train->waiting = gradient_memory;
    train->row = (int8_t *)gradient_memory + 4u * waiting_count(layer);
    train->mask = (uint8_t *)train->row + layer->channel_count;

    if (layer->master == CL_MASTER_BFLOAT16) {
        uint16_t *halves = (uint16_t *)(void *)integers;
        for (uint32_t i = 0; i < vectors; i++, halves += count) {
            train->bfloat16[i] = halves;
        }
        train->weights = (int8_t *)halves;
    } else {
        float *floats = (float *)(void *)integers;
        train->master = floats;
        train->moment1 = floats + count;
        train->moment2 = vectors > 2 ? floats + 2 * count : NULL;
        train->weights = (int8_t *)(floats + vectors * count);
    }
    train->shift = train->weights + layer->weight_count;
}

void cl_train_spans(const struct cl_train *train, struct cl_train_span spans[CL_TRAIN_SPANS])
{
    const struct cl_trainable *layer = train->layer;
    void *const vectors = train->master ? (void *)train->master : (void *)train->bfloat16[0];
    const uint32_t channel_bytes = 4u * layer->channel_count;
    spans[0] = (struct cl_train_span){train->weight_scale, channel_bytes};
    spans[1] = (struct cl_train_span){train->bias, 2u * channel_bytes}; // and the multipliers
    spans[2] = (struct cl_train_span){vectors, 0};                      // and weights and shifts
    spans[2].bytes = cl_train_span_bytes(layer, train->config.optimizer) - 3u * channel_bytes;
}

uint32_t cl_train_span_bytes(const struct cl_trainable *layer, enum cl_optimizer optimizer)
{
    const uint32_t vectors = optimizer == CL_OPTIMIZER_ADAM ? 3 : 2;
    const uint32_t size = layer->master == CL_MASTER_BFLOAT16 ? 2 : 4;
    return 12u * layer->channel_count + (size * vectors + 1u) * parameter_count(layer);
}

static void put_master(const struct cl_train *train, uint32_t parameter, float value)
{
    if (train->master) {
        train->master[parameter] = value;
    } else {
        train->bfloat16[0][parameter] = cl_nearest_bfloat16(value);
    }
}

float cl_train_master(const struct cl_train *train, uint32_t parameter)
{
    return train->master ? train->master[parameter]
                         : cl_from_bfloat16(train->bfloat16[0][parameter]);
}

int32_t cl_train_init(struct cl_train *train, const struct cl_trainable *layer,
                      const struct cl_train_config *config, void *memory, uint32_t memory_bytes,
                      void *gradient_memory)
{
    if (!config_is_valid(config) || config->optimizer > layer->optimizer_max) {
        return CL_ERROR_VALUE;
    }
    const uint32_t bytes = cl_train_bytes(layer, config->optimizer);
    if (memory_bytes < bytes) {
        return CL_ERROR_MEMORY;
    }
    memset(train, 0, sizeof *train);
    memset(memory, 0, (size_t)bytes);
    train->layer = layer;
    train->config = *config;
    lay_out(train, memory, gradient_memory);

    const struct cl_conv_params *converted = layer->params;
    memcpy(train->weights, converted->weights, (size_t)layer->weight_count);
    memcpy(train->bias, converted->bias, layer->channel_count * sizeof *train->bias);
    memcpy(train->multiplier, converted->multiplier,
           layer->channel_count * sizeof *train->multiplier);
    memcpy(train->shift, converted->shift, layer->channel_count);
    memcpy(train->weight_scale, layer->weight_scale,
           layer->channel_count * sizeof *train->weight_scale);
    train->output_scale = layer->output_scale;
    train->params = *converted;
    train->params.weights = train->weights;
    train->params.bias = train->bias;
    train->params.multiplier = train->multiplier;
    train->params.shift = train->shift;

    for (uint16_t o = 0; o < layer->channel_count; o++) {
        const struct cl_channel_span span = cl_channel_span(layer, o);
        const float scale = train->weight_scale[o];
        for (uint32_t k = 0, w = span.first; k < span.count; k++, w += span.stride) {
            put_master(train, w, scale * (float)train->weights[w]);
        }
        put_master(train, layer->weight_count + o,
                   (layer->input_scale * scale) * (float)train->bias[o]);
    }
    train->beta1_power = 1.0f;
    train->beta2_power = 1.0f;
    return (int32_t)bytes;
}

int32_t cl_train_configure(struct cl_train *train, const struct cl_train_config *config)
{
    if (!config_is_valid(config) || config->optimizer != train->config.optimizer) {
        return CL_ERROR_VALUE;
    }
    train->config = *config;
    return CL_OK;
}

int32_t cl_train_forward(const struct cl_train *train, const int8_t *input, int8_t *output,
                         int8_t *scratch, uint16_t first, uint16_t count)
{
    const struct cl_conv_params *params = &train->params;
    if (count == 0 || first + (uint32_t)count > params->output.height) {
        return CL_ERROR_ARGUMENT;
    }
    if (train->layer->rows) {
        train->layer->rows(params, input, 0, output, scratch, first, count);
        return CL_OK;
    }
    switch (train->layer->kind) {
    case CL_LAYER_CONV2D:
        cl_conv2d_rows(params, input, 0, output, scratch, first, count);
        return CL_OK;
    case CL_LAYER_DEPTHWISE:
        cl_depthwise_rows(params, input, 0, output, scratch, first, count);
        return CL_OK;
    case CL_LAYER_DENSE:
        cl_dense(params, input, NULL, output, scratch);
        return CL_OK;
    default:
        return CL_ERROR_ARGUMENT;
    }
}

uint32_t cl_train_saturated(const struct cl_train *train, const int8_t *output, uint32_t count)
{
    const struct cl_range range = cl_activation_range(train->layer->activation, train->output_scale,
                                                      train->params.output_zero_point);
    uint32_t saturated = 0;
    for (uint32_t i = 0; i < count && (range.low_saturates || range.high_saturates); i++) {
        saturated += (uint32_t)((range.low_saturates && output[i] == INT8_MIN) ||
                                (range.high_saturates && output[i] == INT8_MAX));
    }
    return saturated;
}
