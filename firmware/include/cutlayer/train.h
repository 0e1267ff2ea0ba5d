// The trainable layer: the last weighted layer of the head, updated on the board.
//
// Straight-through training of an int8 layer with float32 master weights:
//   forward   y = requantize(w_q, a), from the RAM copy of the weights;
//   backward  dW_q[o,..,i] += sum over positions of g[o] * (a[i] - input_zero_point): int32, exact;
//             g is zero where y sits at a clamped end of its range;
//   update    dW = dW_q * (gradient_scale * input_scale), db = db_q * gradient_scale;
//             then on the master weights w (and likewise on the master bias)
//             SGD    m1 = momentum * m1 + dW;  w = w - rate * m1
//             Adam   m1 = beta1 * m1 + (1 - beta1) * dW
//                    m2 = beta2 * m2 + (1 - beta2) * (dW * dW)
//                    w = w - (rate_t * m1) / (sqrt(m2) + epsilon)
//                    rate_t = (rate * sqrt(1 - beta2^t)) / (1 - beta1^t)
//                    (Kingma and Ba 2015, end of section 2);
//   requantize, per output channel (TFLite 8-bit quantization specification)
//             scale = max(max|w| / 127, |b| / (input_scale * 2^30), 2^-40): the second term keeps
//             the bias in int32, the third gives a channel of zeros a scale;
//             w_q = w / scale, b_q = b / (input_scale * scale), rounded half away from zero;
//             multiplier, shift as TFLM works them out for input_scale * scale / output_scale.
// No operation depends on the compiler or the machine: float32 add, multiply, divide and square
// root in a fixed order, -ffp-contract=off, no libm beyond sqrtf; what TFLM does in float64 is done
// in integers. x86, Cortex-M, AVR and NumPy agree bit for bit.
#ifndef CUTLAYER_TRAIN_H
#define CUTLAYER_TRAIN_H

#include "cutlayer/head.h"
#include "cutlayer/kernels.h"

enum cl_layer_kind { CL_LAYER_CONV2D = 0, CL_LAYER_DEPTHWISE = 1, CL_LAYER_DENSE = 2 };

enum cl_optimizer { CL_OPTIMIZER_SGD = 0, CL_OPTIMIZER_ADAM = 1 };

// What master weights and moments are kept as. BFLOAT16: the upper half of a float32, rounded
// stochastically but the same everywhere (src/bfloat16.h); the update itself is float32, and the
// int8 weights come from what it gives before that rounding.
enum cl_master { CL_MASTER_FLOAT32 = 0, CL_MASTER_BFLOAT16 = 1 };

// The fused activation. It gives the clamped ends of the range for any output scale s and zero
// point z:
//   NONE   -128 to 127
//   RELU   max(-128, z) to 127
//   RELU6  max(-128, z) to min(127, z + round(6 / s)), float32, half away from zero
// An output at an end that is the int8 range's own (not a ReLU's zero or six) counts as saturated.
enum cl_activation { CL_ACTIVATION_NONE = 0, CL_ACTIVATION_RELU = 1, CL_ACTIVATION_RELU6 = 2 };

// What the converter says of the trainable layer. It is always the last op of the head.
struct cl_trainable {
    enum cl_layer_kind kind;
    enum cl_optimizer optimizer_max;     // memory was planned for it; ADAM allows SGD too
    const struct cl_conv_params *params; // as converted; weights in flash
    const float *weight_scale;           // [out], as converted
    float input_scale;
    float output_scale; // as converted
    uint32_t weight_count;
    uint32_t gradient_offset; // into the arena, aligned to 4: cl_train_gradient_bytes
    uint16_t channel_count;   // output channels; one bias each
    enum cl_activation activation;
    enum cl_master master;
    cl_row_kernel rows; // the board's own kernel for the layer, or null: the portable one
};

// Rows of the gradient that wait, to be added together; in blocks of channels.
#define CL_TRAIN_ROWS 8
#define CL_TRAIN_BLOCK 4

// What two rows have at one place.
struct cl_pair {
    int16_t first;
    int16_t second;
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
    int8_t *weights;         // [weight_count]
    int32_t *bias;           // [channel_count]
    int32_t *multiplier;     // [channel_count]
    int8_t *shift;           // [channel_count]
    float *weight_scale;     // [channel_count]
    float *master;           // [weight_count], then the bias: [channel_count]
    float *moment1;          // as master; SGD: velocity
    uint16_t *bfloat16[3];   // master and moments in place of these, with CL_MASTER_BFLOAT16
    float *moment2;          // as master; Adam only
    int32_t *accumulator;    // as master: dW_q, then db_q, without the waiting rows
    struct cl_pair *waiting; // [channels / CL_TRAIN_BLOCK, rounded up][rows / 2][CL_TRAIN_BLOCK]
    int8_t *row;             // [channel_count]: the gradient's row at hand
    uint8_t *mask;           // [CL_MASK_BYTES(outputs)]: the outputs without a gradient
    uint32_t waiting_position[CL_TRAIN_ROWS];
    const int8_t *input; // of the waiting rows' sample
    uint8_t waiting_count;
    float beta1_power; // Adam: beta 1 ^ step
    float beta2_power;
    uint32_t step;            // updates applied so far
    uint32_t rows_in_step;    // gradient rows added since the last update
    uint32_t samples_in_step; // samples ended since the last update
    uint32_t saturated;       // over the samples ended since the last update
};

// Bytes that cl_train_init needs for `layer` with `optimizer`; aligned to 8. Never fails.
uint32_t cl_train_bytes(const struct cl_trainable *layer, enum cl_optimizer optimizer);

// Bytes that one sample's gradient takes: rows that wait, the row at hand and the mask. They have
// to last from the first forward of a sample to cl_train_end_sample and no longer, so they lie in
// the arena, at cl_trainable.gradient_offset. Never fails.
uint32_t cl_train_gradient_bytes(const struct cl_trainable *layer);

// Starts from the converted weights: master = weight_scale * w_q, bias likewise; step 0. `memory`
// is aligned to 8, `gradient_memory` (cl_train_gradient_bytes, not touched here) to 4. Until the
// first update the layer gives the converted head's bytes. Returns the bytes of `memory` used, or
// CL_ERROR_MEMORY, CL_ERROR_VALUE.
int32_t cl_train_init(struct cl_train *train, const struct cl_trainable *layer,
                      const struct cl_train_config *config, void *memory, uint32_t memory_bytes,
                      void *gradient_memory) CL_CHECK_RESULT;

// Master weight `parameter` as float32, or the master bias `parameter` - weight_count.
float cl_train_master(const struct cl_train *train, uint32_t parameter);

// Sets new hyperparameters; weights, moments and step stay.
// Returns 0 or CL_ERROR_VALUE: another optimizer, or a value out of range (nothing changed).
int32_t cl_train_configure(struct cl_train *train,
                           const struct cl_train_config *config) CL_CHECK_RESULT;

// Forward of the trainable layer: rows [first, first + count) of the output y, which go to
// `output`, from the whole input a (both int8, in the arena). A dense layer has one row. Returns 0
// or CL_ERROR_ARGUMENT.
int32_t cl_train_forward(const struct cl_train *train, const int8_t *input, int8_t *output,
                         int8_t *scratch, uint16_t first, uint16_t count) CL_CHECK_RESULT;

// How many of `count` outputs the int8 range's end clamped (not a ReLU).
uint32_t cl_train_saturated(const struct cl_train *train, const int8_t *output, uint32_t count);

// Adds one row of the gradient: g[channel_count] at output position `position` (row-major over
// height and width). `g` is dL/dy / gradient_scale, int8, and already zero where masked. Rows wait
// for one another: `input` stays as it is until cl_train_end_sample. Returns 0, CL_ERROR_ARGUMENT,
// or CL_ERROR_OVERFLOW when one more row could overflow int32 (nothing added: a step takes
// cl_train_rows_max() rows).
int32_t cl_train_accumulate(struct cl_train *train, const int8_t *input, uint32_t position,
                            const int8_t *g) CL_CHECK_RESULT;

// Rows of the gradient that one step takes before int32 could overflow: 65,793 or more. Samples a
// step takes: this / (output height * width). Never fails.
uint32_t cl_train_rows_max(const struct cl_trainable *layer);

// Ends one sample of the step, of which `saturated` outputs were: adds the rows that still wait.
// Returns the samples in this step.
int32_t cl_train_end_sample(struct cl_train *train, uint32_t saturated) CL_CHECK_RESULT;

// Drops what has been accumulated since the last update.
void cl_train_clear(struct cl_train *train);

// Updates the weights from the accumulated gradient and requantizes; clears the accumulator; step
// += 1. `gradient_scale`: real dL/dy = gradient_scale * g. Scale and rate must be finite and
// positive. Returns 0, or CL_ERROR_VALUE when one of them is not or a weight would not stay finite
// (nothing changed).
int32_t cl_train_apply(struct cl_train *train, float gradient_scale,
                       float learning_rate) CL_CHECK_RESULT;

// What a saved state holds of the memory that cl_train_init laid out: all but the accumulator.
#define CL_TRAIN_SPANS 3

struct cl_train_span {
    void *data;
    uint32_t bytes;
};

// The parts of the memory, in order; and the sum of their bytes for an optimizer. Never fails.
void cl_train_spans(const struct cl_train *train, struct cl_train_span spans[CL_TRAIN_SPANS]);
uint32_t cl_train_span_bytes(const struct cl_trainable *layer, enum cl_optimizer optimizer);

// Sets a new output scale and zero point (the host widens the range when too many outputs
// saturate), and works out the multipliers anew. Returns 0 or CL_ERROR_VALUE (nothing changed).
int32_t cl_train_rescale(struct cl_train *train, float output_scale,
                         int8_t output_zero_point) CL_CHECK_RESULT;

#endif
