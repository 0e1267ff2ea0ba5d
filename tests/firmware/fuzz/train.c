#include <float.h>

#include "fuzz.h"

// Trainable layers of any kind and shape, any gradients and rates. The accumulator is compared with
// the sum as the formula in train.h has it.

#define WEIGHTS_MAX (8u * 3u * 3u * 4u)
#define CHANNELS_MAX 8u
#define INPUT_MAX (4u * 4u * 4u)

struct layer {
    struct cl_conv_params params;
    struct cl_trainable trainable;
    int8_t weights[WEIGHTS_MAX];
    int32_t bias[CHANNELS_MAX];
    int32_t multiplier[CHANNELS_MAX];
    int8_t shift[CHANNELS_MAX];
    float weight_scale[CHANNELS_MAX];
};

static float chosen_float(void)
{
    static const float some[] = {0.05f, 1.0f, 1e-30f, 3e38f, 1e-45f, -1.0f};
    uint32_t which = chosen_below(16);
    if (which < 14) {
        return some[which < 10 ? 0 : which - 9];
    }
    uint32_t bits = chosen_u32();
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// Sets the output's size along one axis and the padding before it.
static uint16_t axis(uint16_t input, uint8_t kernel, uint8_t stride, uint8_t *pad)
{
    uint32_t before = chosen_below(kernel), after = chosen_below(kernel);
    if (input + before + after < kernel) {
        before = after = kernel - 1u;
    }
    *pad = (uint8_t)before;
    return (uint16_t)((input + before + after - kernel) / stride + 1u);
}

static void make_shape(struct cl_conv_params *params, enum cl_layer_kind kind)
{
    params->input = (struct cl_shape){1, 1, (uint16_t)(1 + chosen_below(4))};
    params->kernel_height = params->kernel_width = 1;
    params->stride_height = params->stride_width = 1;
    params->output = (struct cl_shape){1, 1, (uint16_t)(1 + chosen_below(CHANNELS_MAX))};
    params->depth_multiplier = 1;
    if (kind == CL_LAYER_DENSE) {
        return;
    }
    params->input.height = (uint16_t)(1 + chosen_below(4));
    params->input.width = (uint16_t)(1 + chosen_below(4));
    params->kernel_height = (uint8_t)(1 + chosen_below(3));
    params->kernel_width = (uint8_t)(1 + chosen_below(3));
    params->stride_height = (uint8_t)(1 + chosen_below(2));
    params->stride_width = (uint8_t)(1 + chosen_below(2));
    params->output.height =
        axis(params->input.height, params->kernel_height, params->stride_height, &params->pad_top);
    params->output.width =
        axis(params->input.width, params->kernel_width, params->stride_width, &params->pad_left);
    if (kind == CL_LAYER_DEPTHWISE) {
        params->depth_multiplier = (uint8_t)(1 + chosen_below(2));
        params->output.channels = (uint16_t)(params->input.channels * params->depth_multiplier);
    }
}

static void make_layer(struct layer *layer)
{
    memset(layer, 0, sizeof *layer);
    struct cl_conv_params *params = &layer->params;
    enum cl_layer_kind kind = (enum cl_layer_kind)chosen_below(3);
    make_shape(params, kind);
    params->input_zero_point = (int8_t)chosen_below(256);
    params->output_zero_point = (int8_t)chosen_below(256);
    params->activation_min = -128;
    params->activation_max = 127;
    params->weights = layer->weights;
    params->bias = layer->bias;
    params->multiplier = layer->multiplier;
    params->shift = layer->shift;
    uint32_t inputs = kind == CL_LAYER_DEPTHWISE ? 1 : params->input.channels;
    layer->trainable = (struct cl_trainable){
        .kind = kind,
        .optimizer_max = (enum cl_optimizer)chosen_below(2),
        .params = params,
        .weight_scale = layer->weight_scale,
        .input_scale = 0.02f,
        .output_scale = 0.05f,
        .weight_count = (uint32_t)params->output.channels * params->kernel_height *
                        params->kernel_width * inputs,
        .channel_count = params->output.channels,
        .activation = (enum cl_activation)chosen_below(3),
        .master = (enum cl_master)chosen_below(2),
    };
    for (uint32_t i = 0; i < layer->trainable.weight_count; i++) {
        layer->weights[i] = (int8_t)((int32_t)(noise_u32() % 255u) - 127);
    }
    for (uint32_t i = 0; i < CHANNELS_MAX; i++) {
        layer->bias[i] = (int32_t)(noise_u32() % 20001u) - 10000;
        layer->multiplier[i] = 1288490189;
        layer->shift[i] = -7;
        layer->weight_scale[i] = 0.01f;
    }
}

// Where a tap of the kernel meets the input at an output position; -1 beyond its edge.
static int32_t input_at(const struct cl_conv_params *params, uint32_t position, uint32_t ky,
                        uint32_t kx)
{
    int32_t y =
        (int32_t)(position / params->output.width * params->stride_height + ky) - params->pad_top;
    int32_t x =
        (int32_t)(position % params->output.width * params->stride_width + kx) - params->pad_left;
    int inside = y >= 0 && y < params->input.height && x >= 0 && x < params->input.width;
    return inside ? (y * params->input.width + x) * params->input.channels : -1;
}

// dW_q[o,..,i] += g[o] * (a[i] - zero_point), where the weight lies in the layer's own order.
static void add_row(const struct cl_trainable *layer, int32_t *sum, const int8_t *a,
                    uint32_t position, const int8_t *g)
{
    const struct cl_conv_params *p = layer->params;
    int depthwise = layer->kind == CL_LAYER_DEPTHWISE;
    for (uint32_t o = 0; o < layer->channel_count; o++) {
        sum[layer->weight_count + o] += g[o];
        for (uint32_t tap = 0; tap < (uint32_t)p->kernel_height * p->kernel_width; tap++) {
            int32_t at = input_at(p, position, tap / p->kernel_width, tap % p->kernel_width);
            for (uint32_t i = 0; at >= 0 && i < (depthwise ? 1u : p->input.channels); i++) {
                uint32_t taps = (uint32_t)p->kernel_height * p->kernel_width;
                uint32_t weight = depthwise ? tap * layer->channel_count + o
                                            : (o * taps + tap) * p->input.channels + i;
                uint32_t channel = depthwise ? o / p->depth_multiplier : i;
                sum[weight] += g[o] * (a[at + (int32_t)channel] - p->input_zero_point);
            }
        }
    }
}

// Rows made one by one are the rows of the whole output.
static void check_rows(const struct cl_train *train, const int8_t *input, const int8_t *output,
                       int8_t *scratch)
{
    const struct cl_shape out = train->layer->params->output;
    const uint32_t count = cl_shape_row(out);
    int8_t *row = block_of(count);
    for (uint16_t y = 0; y < out.height; y++) {
        check(cl_train_forward(train, input, row, scratch, y, 1) == 0, "a row is made");
        check(memcmp(row, output + y * count, count) == 0, "a row is one of the whole");
    }
    free(row);
}

static void fuzz_sample(struct cl_train *train, int8_t *input, int8_t *output, int8_t *scratch,
                        int32_t *sum)
{
    const struct cl_trainable *layer = train->layer;
    const struct cl_shape out = layer->params->output;
    int8_t g[CHANNELS_MAX];
    for (uint32_t i = 0; i < cl_shape_count(layer->params->input); i++) {
        input[i] = (int8_t)noise_u32();
    }
    check(cl_train_forward(train, input, output, scratch, 0, out.height) == 0, "a layer runs");
    check_rows(train, input, output, scratch);
    for (uint32_t position = 0; position < (uint32_t)out.height * out.width; position++) {
        int extreme = chosen_below(4) == 0;
        for (uint32_t o = 0; o < layer->channel_count; o++) {
            uint32_t any = noise_u32() % 255u;
            g[o] = (int8_t)((int32_t)(extreme ? any % 2u * 254u : any) - 127);
        }
        check(cl_train_accumulate(train, input, position, g) == 0, "a row is added");
        add_row(layer, sum, input, position, g);
    }
    check(cl_train_accumulate(train, input, (uint32_t)out.height * out.width, g) ==
              CL_ERROR_ARGUMENT,
          "there is no such row");
    check(cl_train_end_sample(train, 0) > 0, "a sample ends");
    check(memcmp(sum, train->accumulator, 4u * (layer->weight_count + layer->channel_count)) == 0,
          "the gradient is exact");
    reached(REACH_ADDED, 1);
}

static void check_weights(const struct cl_train *train)
{
    uint32_t count = train->layer->weight_count;
    for (uint32_t i = 0; i < count + train->layer->channel_count; i++) {
        float value = cl_train_master(train, i);
        check(value - value == 0, "master weights are finite");
        check(i >= count || train->weights[i] >= -127, "weights are -127 to 127");
    }
    for (uint32_t o = 0; o < train->layer->channel_count; o++) {
        check(train->weight_scale[o] > 0 && train->weight_scale[o] <= FLT_MAX, "scales are finite");
    }
}

// CRC-32 of all that a step that is refused leaves as it was: not of the rows that wait, for none
// do.
static uint32_t state_crc(const struct cl_train *train)
{
    struct cl_train_span spans[CL_TRAIN_SPANS];
    uint32_t count = train->layer->weight_count + train->layer->channel_count;
    uint32_t crc = cl_crc32(0, train->accumulator, 4u * count);
    cl_train_spans(train, spans);
    for (uint32_t i = 0; i < CL_TRAIN_SPANS; i++) {
        crc = cl_crc32(crc, spans[i].data, spans[i].bytes);
    }
    return cl_crc32(crc, &train->beta2_power, sizeof train->beta2_power);
}

static void fuzz_apply(struct cl_train *train, int32_t *sum)
{
    uint32_t crc = state_crc(train), step = train->step;
    int32_t result = cl_train_apply(train, chosen_float(), chosen_float());
    check(result == 0 || result == CL_ERROR_VALUE, "a step is applied, or refused for a value");
    check(train->step == step + (result == 0), "what is refused is no step");
    if (result == 0) {
        memset(sum, 0, 4u * (WEIGHTS_MAX + CHANNELS_MAX));
        reached(REACH_APPLIED, 1);
    } else {
        check(state_crc(train) == crc, "what is refused changes nothing");
        reached(REACH_REFUSED, 1);
    }
    check_weights(train);
}

static void fuzz_rescale(struct cl_train *train)
{
    uint32_t crc = state_crc(train);
    int32_t result = cl_train_rescale(train, chosen_float(), (int8_t)chosen_below(256));
    check(result == 0 || result == CL_ERROR_VALUE, "a scale is taken or refused");
    check(result == 0 || state_crc(train) == crc, "what is refused changes nothing");
    check_weights(train);
}

void fuzz_train(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    struct layer layer;
    struct cl_train train;
    int32_t sum[WEIGHTS_MAX + CHANNELS_MAX] = {0};
    make_layer(&layer);
    struct cl_train_config config = {
        (enum cl_optimizer)chosen_below((uint32_t)layer.trainable.optimizer_max + 1u), 0.9f, 0.999f,
        1e-7f};
    uint32_t bytes = cl_train_bytes(&layer.trainable, config.optimizer);
    uint8_t *memory = block_of(bytes);
    uint32_t *gradient = block_of(cl_train_gradient_bytes(&layer.trainable));
    int8_t *input = block_of(cl_shape_count(layer.params.input));
    int8_t *output = block_of(cl_shape_count(layer.params.output));
    // As converter/cutlayer_converter/ops/conv2d.py has it.
    int8_t *scratch = block_of(4u * layer.params.output.channels + 2u * layer.params.kernel_height *
                                                                       layer.params.kernel_width *
                                                                       layer.params.input.channels);
    check(cl_train_init(&train, &layer.trainable, &config, memory, bytes, gradient) > 0,
          "a layer begins");
    while (choices_left()) {
        uint32_t what = chosen_below(8);
        if (what < 4) {
            fuzz_sample(&train, input, output, scratch, sum);
        } else if (what < 6) {
            fuzz_apply(&train, sum);
        } else if (what < 7) {
            fuzz_rescale(&train);
        } else {
            cl_train_clear(&train);
            memset(sum, 0, sizeof sum);
        }
    }
    free(scratch);
    free(output);
    free(input);
    free(gradient);
    free(memory);
}
