// The trainable layer: the last weighted layer of the head, updated on the board.
//
// Straight-through training of an int8 layer with float32 master weights:
//   forward   y = requantize(w_q, a), from the RAM copy of the weights;
//   backward  dW_q[o,..,i] += sum over positions of g[o] * (a[i] - input_zero_point): int32, exact;
//             g is zero where y sits at a clamped end of its range;
//   update    dW = dW_q * gradient_scale * input_scale, then SGD with momentum or Adam on the master weights
//             (Kingma and Ba 2015, with the bias correction folded into the learning rate), then per-channel
//             requantization (TFLite 8-bit quantization specification).
// No operation depends on the compiler or the machine: float32 and float64 add, multiply, divide and square
// root in a fixed order, -ffp-contract=off, no libm beyond sqrtf. x86, Cortex-M and NumPy agree bit for bit.
#ifndef CUTLAYER_TRAIN_H
#define CUTLAYER_TRAIN_H

#include "cutlayer/head.h"
#include "cutlayer/kernels.h"

enum cl_layer_kind { CL_LAYER_CONV2D = 0, CL_LAYER_DEPTHWISE = 1, CL_LAYER_DENSE = 2 };

enum cl_optimizer { CL_OPTIMIZER_SGD = 0, CL_OPTIMIZER_ADAM = 1 };

// What the converter says of the trainable layer. It is always the last op of the head.
struct cl_trainable {
    enum cl_layer_kind kind;
    enum cl_optimizer optimizer_max;     // the optimizer that memory was planned for (ADAM allows SGD too)
    const struct cl_conv_params *params; // as converted; weights in flash
    const float *weight_scale;           // [out], as converted
    float input_scale;
    uint32_t weight_count;
    uint16_t channel_count;    // output channels; one bias each
    uint8_t clamp_low;         // 1 when activation_min is a fused ReLU's zero, 0 when it is the range's end
    uint8_t clamp_high;        // 1 when activation_max is a fused ReLU6's six, 0 when it is the range's end
};

struct cl_train_config {
    enum cl_optimizer optimizer;
    float momentum; // SGD: momentum in [0, 1); Adam: beta 1
    float beta2;    // Adam only
    float epsilon;  // Adam only
};

// State of training; every pointer points into the caller's memory.
struct cl_train {
    const struct cl_trainable *layer;
    struct cl_train_config config;
    struct cl_conv_params params; // runs the layer from RAM
    float output_scale;
    int8_t *weights;      // [weight_count]
    int32_t *bias;        // [channel_count]
    int32_t *multiplier;  // [channel_count]
    int8_t *shift;        // [channel_count]
    float *weight_scale;  // [channel_count]
    float *master;        // [weight_count], then the bias: [channel_count]
    float *moment1;       // as master; SGD: velocity
    float *moment2;       // as master; Adam only
    int32_t *accumulator; // as master: dW_q, then db_q
    float beta1_power;    // Adam: momentum^step
    float beta2_power;
    uint32_t step; // updates applied so far
    uint32_t samples_in_step;
    uint32_t saturated; // outputs clamped by the range's end since the last update
};

// Bytes that cl_train_init needs for `layer` with `optimizer`; aligned to 8. Never fails.
uint32_t cl_train_bytes(const struct cl_trainable *layer, enum cl_optimizer optimizer);

// Starts from the converted weights: master = weight_scale * w_q, bias likewise; step 0. `memory` is aligned to 8.
// Until the first update the layer gives the converted head's bytes.
// Returns the bytes used, or CL_ERROR_MEMORY, CL_ERROR_VALUE.
int32_t cl_train_init(struct cl_train *train, const struct cl_trainable *layer,
                      const struct cl_train_config *config, void *memory,
                      uint32_t memory_bytes) CL_CHECK_RESULT;

// Forward of the trainable layer: `input` a, `output` y (both int8, in the arena). Counts saturated outputs.
// Returns the saturated outputs of this sample.
int32_t cl_train_forward(struct cl_train *train, const int8_t *input, int8_t *output,
                         int8_t *scratch) CL_CHECK_RESULT;

// Adds one row of the gradient: g[channel_count] at output position `position` (row-major over height and
// width). `g` is dL/dy / gradient_scale, int8, and already zero where masked.
// Returns 0 or CL_ERROR_ARGUMENT.
int32_t cl_train_accumulate(struct cl_train *train, const int8_t *input, uint32_t position,
                            const int8_t *g) CL_CHECK_RESULT;

// Ends one sample. Returns the samples in this step, or CL_ERROR_OVERFLOW when one more could overflow int32.
int32_t cl_train_end_sample(struct cl_train *train) CL_CHECK_RESULT;

// Drops what has been accumulated since the last update.
void cl_train_clear(struct cl_train *train);

// Updates the weights from the accumulated gradient and requantizes; clears the accumulator; step += 1.
// `gradient_scale`: real dL/dy = gradient_scale * g. Scale and rate must be finite and positive.
// Returns 0 or CL_ERROR_VALUE (nothing changed).
int32_t cl_train_apply(struct cl_train *train, float gradient_scale, float learning_rate) CL_CHECK_RESULT;

// Sets a new output scale and zero point (the host widens the range when too many outputs saturate), and
// works out the multipliers anew. Returns 0 or CL_ERROR_VALUE (nothing changed).
int32_t cl_train_rescale(struct cl_train *train, float output_scale, int8_t output_zero_point) CL_CHECK_RESULT;

#endif
