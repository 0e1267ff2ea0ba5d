// The trainable layer's integer gradient: dW_q[o,..,i] += g[o] * (a[i] - zero_point), exact.
//
// Rows of the gradient wait until CL_TRAIN_ROWS are there or their sample ends. Then an accumulator
// is loaded and stored once for all of them, and what two rows have at one place is a pair of int16
// that one instruction multiplies and adds where the machine has it.
#include "train_state.h"

#include "train_outer.h"

// The waiting gradients of a channel: [channels / BLOCK, rounded up][PAIRS][BLOCK].
static inline struct cl_pair *waiting_of(const struct cl_train *train, uint32_t channel)
{
    return train->waiting + channel / BLOCK * (PAIRS * BLOCK) + channel % BLOCK;
}

#define BLOCK_STEP (2 * PAIRS * BLOCK)

// A row's gradients, every second int16: from here on, and BLOCK_STEP on for the next block.
static int16_t *line_of(const struct cl_train *train, uint32_t row)
{
    struct cl_pair *pair = train->waiting + row / 2 * BLOCK;
    return row % 2 ? &pair->second : &pair->first;
}

static void add_biases(const struct cl_train *train)
{
    const struct cl_pair one = {1, 1};
    const struct cl_pair *g = train->waiting;
    int32_t *db = train->accumulator + train->layer->weight_count;
    for (const int32_t *end = db + train->layer->channel_count; db != end; g += PAIRS * BLOCK) {
        for (uint32_t i = 0; i < BLOCK && db != end; i++, db++) {
            int32_t sum = *db;
            for (uint32_t pair = 0; pair < PAIRS; pair++) {
                sum = add_pair(sum, &g[pair * BLOCK + i], &one);
            }
            *db = sum;
        }
    }
}

// --- convolution and dense ---

// One channel of `count` elements.
static void add_line(int32_t *dw, const struct cl_pair *g, const struct cl_pair *a, uint32_t count,
                     uint32_t pairs)
{
    for (uint32_t i = 0; i < count; i++) {
        int32_t sum = dw[i];
        for (uint32_t pair = 0; pair < pairs; pair++) {
            sum = add_pair(sum, g + pair * BLOCK, a + pair * CHUNK + i);
        }
        dw[i] = sum;
    }
}

// All channels of `count` elements.
static void add_chunk(const struct cl_train *train, int32_t *dw, const struct cl_pair *a,
                      uint32_t count, uint32_t pairs)
{
    const add_tiles add = pairs == 1 ? add_first_pair : add_all_pairs;
    const uint32_t channels = train->layer->channel_count;
    const uint32_t filter = train->layer->weight_count / channels;
    const uint32_t even = count & ~(uint32_t)1;
    uint32_t o = 0;
    for (; CL_TRAIN_FAST && o + BLOCK <= channels; o += BLOCK, dw += BLOCK * filter) {
        const struct cl_pair *g = waiting_of(train, o);
        if (even) {
            add(dw, filter * (uint32_t)sizeof(*dw), g, a, a + even);
        }
        for (uint32_t i = 0; i < BLOCK && even < count; i++) {
            add_line(dw + i * filter + even, g + i, a + even, count - even, pairs);
        }
    }
    for (; o < channels; o++, dw += filter) {
        add_line(dw, waiting_of(train, o), a, count, pairs);
    }
}

// Where the kernel's row `ky` lies for the output at `position`: elements [first, first + width of
// the kernel) of an input row, some of them outside it, or all: then `row` is null.
struct view {
    const int8_t *row;
    int32_t first;
};

static struct view view_of(const struct cl_train *train, uint32_t waiting, uint32_t ky)
{
    const struct cl_conv_params *params = &train->params;
    const uint32_t position = train->waiting_position[waiting];
    const int32_t y =
        (int32_t)(position / params->output.width * params->stride_height + ky) - params->pad_top;
    const int32_t x =
        (int32_t)(position % params->output.width * params->stride_width) - params->pad_left;
    struct view view = {NULL, x * (int32_t)params->input.channels};
    if (y >= 0 && y < (int32_t)params->input.height) {
        view.row = train->input + (uint32_t)y * params->input.width * params->input.channels;
    }
    return view;
}

// Elements [start, start + count) of a view, every second int16 of `to`: zero outside the input.
static void gather(const struct cl_conv_params *params, struct view view, uint32_t start,
                   uint32_t count, int16_t *to)
{
    const int32_t width = (int32_t)params->input.width * params->input.channels;
    const int32_t first = view.first + (int32_t)start, end = first + (int32_t)count;
    for (int32_t i = first; i < end; i++, to += 2) {
        const bool inside = view.row && i >= 0 && i < width;
        *to = (int16_t)(inside ? view.row[i] - params->input_zero_point : 0);
    }
}

// The same of two rows whose elements all lie inside.
static void gather_pair(const int8_t *a, const int8_t *b, int8_t zero_point, uint32_t count,
                        struct cl_pair *to)
{
    const int8_t *end = a + count;
#if defined(CL_SIMD32)
    const int16x2_t offset = cl_pair(-(int32_t)zero_point);
    for (const int8_t *whole = a + (count & ~(uint32_t)3); a != whole; a += 4, b += 4, to += 4) {
        const uint32_t a_word = cl_word(a), b_word = cl_word(b);
        const uint32_t a02 = (uint32_t)cl_even_plus(offset, a_word);
        const uint32_t a13 = (uint32_t)cl_odd_plus(offset, a_word);
        const uint32_t b02 = (uint32_t)cl_even_plus(offset, b_word);
        const uint32_t b13 = (uint32_t)cl_odd_plus(offset, b_word);
        const uint32_t pairs[4] = {(a02 & 0xFFFFu) | b02 << 16, (a13 & 0xFFFFu) | b13 << 16,
                                   a02 >> 16 | (b02 & 0xFFFF0000u),
                                   a13 >> 16 | (b13 & 0xFFFF0000u)};
        memcpy(to, pairs, sizeof(pairs));
    }
#endif
    for (; a != end; a++, b++, to++) {
        to->first = (int16_t)(*a - zero_point);
        to->second = (int16_t)(*b - zero_point);
    }
}

static bool is_inside(const struct cl_conv_params *params, struct view view, uint32_t start,
                      uint32_t count)
{
    const int32_t width = (int32_t)params->input.width * params->input.channels;
    const int32_t first = view.first + (int32_t)start;
    return view.row && first >= 0 && first + (int32_t)count <= width;
}

// Elements [start, start + count) of the kernel's row `ky` of all waiting rows.
static void gather_all(const struct cl_train *train, uint32_t ky, uint32_t start, uint32_t count,
                       struct cl_pair *to)
{
    const struct cl_conv_params *params = &train->params;
    for (uint32_t row = 0; row < train->waiting_count; row += 2, to += CHUNK) {
        // A last row without a partner is its own: the partner's gradient is zero.
        const uint32_t partner = row + 1 < train->waiting_count ? row + 1 : row;
        const struct view a = view_of(train, row, ky), b = view_of(train, partner, ky);
        if (CL_TRAIN_FAST && is_inside(params, a, start, count) &&
            is_inside(params, b, start, count)) {
            const uint32_t a_start = (uint32_t)a.first + start, b_start = (uint32_t)b.first + start;
            gather_pair(a.row + a_start, b.row + b_start, params->input_zero_point, count, to);
        } else {
            gather(params, a, start, count, &to->first);
            gather(params, b, start, count, &to->second);
        }
    }
}

// dW[o,ky,kx,i] += g[o] * (a[y,x,i] - zero_point). Along a row of the kernel dW and a are
// contiguous.
static void conv2d_backward(const struct cl_train *train, uint32_t pairs)
{
    const struct cl_conv_params *params = &train->params;
    const uint32_t kernel_row = (uint32_t)params->kernel_width * params->input.channels;
    struct cl_pair a[PAIRS * CHUNK] = {{0, 0}};

    for (uint32_t ky = 0; ky < params->kernel_height; ky++) {
        for (uint32_t start = 0; start < kernel_row; start += CHUNK) {
            const uint32_t left = kernel_row - start;
            const uint32_t count = left < CHUNK ? left : CHUNK;
            gather_all(train, ky, start, count, a);
            add_chunk(train, train->accumulator + ky * kernel_row + start, a, count, pairs);
        }
    }
}

// --- depthwise ---

// The taps of the kernel that lie inside the input: [first, last).
struct taps {
    int32_t origin; // input coordinate of tap 0
    int32_t first;
    int32_t last;
};

static struct taps taps_inside(uint32_t position, uint8_t stride, uint8_t pad, uint8_t kernel,
                               uint16_t input)
{
    const int32_t origin = (int32_t)(position * stride) - pad;
    const int32_t room = (int32_t)input - origin;
    struct taps taps = {origin, origin < 0 ? -origin : 0, room < kernel ? room : kernel};
    return taps;
}

// dW[o] += g[o] * (a[o / depth_multiplier] - zero_point), for one row at one tap of the kernel.
static void depthwise_tap(const struct cl_conv_params *params, int32_t *dw, const int8_t *a,
                          const int16_t *g)
{
    const int32_t zero_point = params->input_zero_point;
    const uint32_t channels = params->output.channels;
    uint32_t o = 0;
    if (CL_TRAIN_FAST && params->depth_multiplier == 1) {
        for (; o + BLOCK <= channels; o += BLOCK, a += BLOCK, dw += BLOCK, g += BLOCK_STEP) {
            dw[0] += g[0] * (a[0] - zero_point);
            dw[1] += g[2] * (a[1] - zero_point);
            dw[2] += g[4] * (a[2] - zero_point);
            dw[3] += g[6] * (a[3] - zero_point);
        }
    }
    for (uint8_t m = 0; o < channels; o++, dw++) {
        *dw += g[o % BLOCK * 2] * (*a - zero_point);
        if (++m == params->depth_multiplier) {
            m = 0;
            a++;
        }
        if ((o + 1) % BLOCK == 0) {
            g += BLOCK_STEP;
        }
    }
}

// All taps of one row.
static void depthwise_row(const struct cl_train *train, uint32_t waiting)
{
    const struct cl_conv_params *params = &train->params;
    const uint32_t position = train->waiting_position[waiting];
    const struct taps rows =
        taps_inside(position / params->output.width, params->stride_height, params->pad_top,
                    params->kernel_height, params->input.height);
    const struct taps columns =
        taps_inside(position % params->output.width, params->stride_width, params->pad_left,
                    params->kernel_width, params->input.width);
    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        for (int32_t kx = columns.first; kx < columns.last; kx++) {
            const uint32_t y = (uint32_t)(rows.origin + ky), x = (uint32_t)(columns.origin + kx);
            const uint32_t pixel = y * params->input.width + x;
            const uint32_t tap = (uint32_t)ky * params->kernel_width + (uint32_t)kx;
            depthwise_tap(params, train->accumulator + tap * params->output.channels,
                          train->input + pixel * params->input.channels, line_of(train, waiting));
        }
    }
}

// --- rows ---

static void put_row(const struct cl_train *train, uint32_t row, const int8_t *g)
{
    int16_t *to = line_of(train, row);
    uint32_t left = train->layer->channel_count;
    for (; CL_TRAIN_FAST && left >= BLOCK; left -= BLOCK, g += BLOCK, to += BLOCK_STEP) {
        to[0] = g[0];
        to[2] = g[1];
        to[4] = g[2];
        to[6] = g[3];
    }
    for (uint32_t o = 0; o < left; o++) {
        to[o / BLOCK * BLOCK_STEP + o % BLOCK * 2] = g[o];
    }
}

// A row without a gradient.
static void put_zeros(const struct cl_train *train, uint32_t row)
{
    int16_t *to = line_of(train, row);
    for (uint32_t o = 0; o < train->layer->channel_count; o += BLOCK, to += BLOCK_STEP) {
        to[0] = to[2] = to[4] = to[6] = 0;
    }
}

static void add_waiting(struct cl_train *train)
{
    // One pair, or all of them, some with gradients of zero.
    const uint32_t pairs = train->waiting_count > 2 ? PAIRS : 1;
    for (uint32_t row = train->waiting_count; row < CL_TRAIN_ROWS; row++) {
        put_zeros(train, row);
    }
    add_biases(train);
    if (train->layer->kind == CL_LAYER_DEPTHWISE) {
        for (uint32_t row = 0; row < train->waiting_count; row++) {
            depthwise_row(train, row);
        }
    } else {
        conv2d_backward(train, pairs);
    }
    train->waiting_count = 0;
}

int32_t cl_train_accumulate(struct cl_train *train, const int8_t *input, uint32_t position,
                            const int8_t *g)
{
    const struct cl_shape out = train->params.output;
    if (position >= (uint32_t)out.height * out.width) {
        return CL_ERROR_ARGUMENT;
    }
    if (train->rows_in_step >= cl_train_rows_max(train->layer)) {
        return CL_ERROR_OVERFLOW;
    }
    train->rows_in_step++;

    const uint8_t row = train->waiting_count;
    put_row(train, row, g);
    train->input = input;
    train->waiting_position[row] = position;
    train->waiting_count = (uint8_t)(row + 1);
    if (train->waiting_count == CL_TRAIN_ROWS) {
        add_waiting(train);
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

int32_t cl_train_end_sample(struct cl_train *train, uint32_t saturated)
{
    if (train->waiting_count) {
        add_waiting(train);
    }
    train->samples_in_step++;
    train->saturated += saturated;
    return (int32_t)train->samples_in_step;
}

void cl_train_clear(struct cl_train *train)
{
    const uint32_t count = train->layer->weight_count + train->layer->channel_count;
    memset(train->accumulator, 0, (size_t)count * sizeof *train->accumulator);
    train->waiting_count = 0;
    train->rows_in_step = 0;
    train->samples_in_step = 0;
    train->saturated = 0;
}
