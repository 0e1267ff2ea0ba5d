// The trainable layer: state, forward, and the integer gradient of its weights.
#include "train_state.h"

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
    return !adam || (config->beta2 >= 0.0f && config->beta2 < 1.0f && config->epsilon > 0.0f &&
                     cl_is_finite(config->epsilon));
}

static uint32_t parameter_count(const struct cl_trainable *layer)
{
    return layer->weight_count + layer->channel_count;
}

uint32_t cl_train_bytes(const struct cl_trainable *layer, enum cl_optimizer optimizer)
{
    // master, accumulator and one or two moments; then bias, multiplier and weight scale; then int8
    const uint32_t vectors = optimizer == CL_OPTIMIZER_ADAM ? 4 : 3;
    const uint32_t words = vectors * parameter_count(layer) + 3u * layer->channel_count;
    const uint32_t bytes = 4u * words + parameter_count(layer);
    return (bytes + 7u) & ~(uint32_t)7u;
}

static void lay_out(struct cl_train *train, void *memory)
{
    const struct cl_trainable *layer = train->layer;
    const uint32_t count = parameter_count(layer);
    float *floats = memory;

    train->master = floats;
    floats += count;
    train->moment1 = floats;
    floats += count;
    train->moment2 = NULL;
    if (train->config.optimizer == CL_OPTIMIZER_ADAM) {
        train->moment2 = floats;
        floats += count;
    }
    train->weight_scale = floats;
    floats += layer->channel_count;

    int32_t *integers = (int32_t *)(void *)floats;
    train->accumulator = integers;
    integers += count;
    train->bias = integers;
    integers += layer->channel_count;
    train->multiplier = integers;
    integers += layer->channel_count;

    train->weights = (int8_t *)integers;
    train->shift = train->weights + layer->weight_count;
}

int32_t cl_train_init(struct cl_train *train, const struct cl_trainable *layer,
                      const struct cl_train_config *config, void *memory, uint32_t memory_bytes)
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
    lay_out(train, memory);

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
            train->master[w] = scale * (float)train->weights[w];
        }
        train->master[layer->weight_count + o] =
            (layer->input_scale * scale) * (float)train->bias[o];
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

int32_t cl_train_forward(struct cl_train *train, const int8_t *input, int8_t *output,
                         int8_t *scratch)
{
    const struct cl_conv_params *params = &train->params;
    switch (train->layer->kind) {
    case CL_LAYER_CONV2D:
        cl_conv2d(params, input, NULL, output, scratch);
        break;
    case CL_LAYER_DEPTHWISE:
        cl_depthwise(params, input, NULL, output, scratch);
        break;
    case CL_LAYER_DENSE:
        cl_dense(params, input, NULL, output, scratch);
        break;
    default:
        return CL_ERROR_ARGUMENT;
    }

    const struct cl_range range = cl_activation_range(train->layer->activation, train->output_scale,
                                                      params->output_zero_point);
    const uint32_t count = cl_shape_count(params->output);
    uint32_t saturated = 0;
    for (uint32_t i = 0; i < count && (range.low_saturates || range.high_saturates); i++) {
        saturated += (uint32_t)((range.low_saturates && output[i] == INT8_MIN) ||
                                (range.high_saturates && output[i] == INT8_MAX));
    }
    train->saturated_in_sample = saturated;
    return (int32_t)saturated;
}

// The part of the kernel that lies inside the input at one output position and along one axis: taps
// [first, last), the first of them at input coordinate `start`.
struct cl_taps {
    int32_t first;
    int32_t last;
    int32_t start;
};

static struct cl_taps taps_inside(uint32_t position, uint8_t stride, uint8_t pad, uint8_t kernel,
                                  uint16_t input)
{
    const int32_t origin = (int32_t)position * stride - pad;
    struct cl_taps taps = {0, kernel, origin};
    if (origin < 0) {
        taps.first = -origin;
        taps.start = 0;
    }
    if (origin + kernel > input) {
        taps.last = input - origin;
    }
    return taps;
}

// The first output channel from `o` on that has a gradient; `channels` when there is none.
static uint16_t next_gradient(const int8_t *g, uint16_t o, uint16_t channels)
{
    while (o < channels && g[o] == 0) {
        o++;
    }
    return o;
}

// dW[o,ky,kx,i] += g[o] * (a[y,x,i] - zero_point). Along a row of the kernel dW and a are
// contiguous. Two channels go at once, so that a is read and centred for both.
static void conv2d_backward(const struct cl_conv_params *params, int32_t *dw, const int8_t *input,
                            struct cl_taps rows, struct cl_taps columns, const int8_t *g)
{
    const uint32_t depth = params->input.channels;
    const uint32_t input_row = params->input.width * depth;
    const uint32_t kernel_row = params->kernel_width * depth;
    const uint32_t filter = params->kernel_height * kernel_row;
    const uint16_t channels = params->output.channels;
    const int32_t zero_point = params->input_zero_point;
    const int32_t length = (columns.last - columns.first) * (int32_t)depth;
    const int8_t *a_corner =
        input + (uint32_t)rows.start * input_row + (uint32_t)columns.start * depth;
    int32_t *dw_corner = dw + (uint32_t)rows.first * kernel_row + (uint32_t)columns.first * depth;

    for (uint16_t o = next_gradient(g, 0, channels); o < channels;) {
        // A last channel without a partner is its own, with nothing more to add.
        const uint16_t partner = next_gradient(g, (uint16_t)(o + 1), channels);
        const bool alone = partner == channels;
        const int32_t g0 = g[o];
        const int32_t g1 = alone ? 0 : g[partner];
        int32_t *row0 = dw_corner + o * filter;
        int32_t *row1 = alone ? row0 : dw_corner + partner * filter;
        const int8_t *a = a_corner;
        for (int32_t ky = rows.first; ky < rows.last; ky++) {
            for (int32_t i = 0; i < length; i++) {
                const int32_t centred = a[i] - zero_point;
                row0[i] += g0 * centred;
                row1[i] += g1 * centred;
            }
            a += input_row;
            row0 += kernel_row;
            row1 += kernel_row;
        }
        o = alone ? channels : next_gradient(g, (uint16_t)(partner + 1), channels);
    }
}

// dW[ky,kx,o] += g[o] * (a[y,x,o / depth_multiplier] - zero_point)
static void depthwise_backward(const struct cl_conv_params *params, int32_t *dw,
                               const int8_t *input, struct cl_taps rows, struct cl_taps columns,
                               const int8_t *g)
{
    const uint32_t channels = params->input.channels;
    const int32_t zero_point = params->input_zero_point;

    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        const uint32_t y = (uint32_t)(rows.start + ky - rows.first);
        for (int32_t kx = columns.first; kx < columns.last; kx++) {
            const uint32_t x = (uint32_t)(columns.start + kx - columns.first);
            const int8_t *a = input + (y * params->input.width + x) * channels;
            const uint32_t tap = (uint32_t)ky * params->kernel_width + (uint32_t)kx;
            int32_t *row = dw + tap * params->output.channels;
            const int8_t *scale = g;
            for (uint32_t i = 0; i < channels; i++) {
                const int32_t offset = a[i] - zero_point;
                for (uint8_t m = 0; m < params->depth_multiplier; m++) {
                    *row++ += *scale++ * offset;
                }
            }
        }
    }
}

int32_t cl_train_accumulate(struct cl_train *train, const int8_t *input, uint32_t position,
                            const int8_t *g)
{
    const struct cl_conv_params *params = &train->params;
    const struct cl_shape out = params->output;
    if (position >= (uint32_t)out.height * out.width) {
        return CL_ERROR_ARGUMENT;
    }
    if (train->rows_in_step >= cl_train_rows_max(train->layer)) {
        return CL_ERROR_OVERFLOW;
    }
    train->rows_in_step++;

    int32_t *db = train->accumulator + train->layer->weight_count;
    for (uint16_t o = 0; o < out.channels; o++) {
        db[o] += g[o];
    }
    const struct cl_taps rows =
        taps_inside(position / out.width, params->stride_height, params->pad_top,
                    params->kernel_height, params->input.height);
    const struct cl_taps columns =
        taps_inside(position % out.width, params->stride_width, params->pad_left,
                    params->kernel_width, params->input.width);
    if (train->layer->kind == CL_LAYER_DEPTHWISE) {
        depthwise_backward(params, train->accumulator, input, rows, columns, g);
    } else {
        conv2d_backward(params, train->accumulator, input, rows, columns, g);
    }
    return CL_OK;
}

uint32_t cl_train_rows_max(const struct cl_trainable *layer)
{
    // Per row a weight gets at most |g| * max|a - zero_point|, and a bias |g|.
    const int32_t zero_point = layer->params->input_zero_point;
    const int32_t above = 127 - zero_point;
    const int32_t below = zero_point + 128;
    return (uint32_t)(INT32_MAX / (128 * (above > below ? above : below)));
}

int32_t cl_train_end_sample(struct cl_train *train)
{
    train->samples_in_step++;
    train->saturated += train->saturated_in_sample;
    train->saturated_in_sample = 0;
    return (int32_t)train->samples_in_step;
}

void cl_train_clear(struct cl_train *train)
{
    memset(train->accumulator, 0,
           (size_t)parameter_count(train->layer) * sizeof *train->accumulator);
    train->rows_in_step = 0;
    train->samples_in_step = 0;
    train->saturated_in_sample = 0;
    train->saturated = 0;
}
