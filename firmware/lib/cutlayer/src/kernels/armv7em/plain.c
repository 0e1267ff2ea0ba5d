// Convolution for Armv7E-M by the tiles of tile.h from weights as the portable kernel has them,
// because they change: a trainable layer's.
//
// A few channels at a time, their weights are laid out in scratch, with what else the converter
// works out for cl_conv2d_armv7em, and one layout serves all positions of a row. These are widened
// there too: once if the whole row has room, or else a tile at a time, for each of these groups of
// channels again. Where requantization by the tiles would not be exact, a channel is made again as
// the portable kernel makes it.
#include "cutlayer/kernels_armv7em.h"

#include "kernels/armv7em/tile.h"
#include "kernels/dot.h"

#if defined(CL_ARMV7EM) && defined(CL_SIMD32)
#include <stdbool.h>

#include "kernels/conv_rows.h"
#include "kernels/lines.h"

// Channels at a time: as many as take 512 bytes of scratch, 4 to 8; in pairs.
#define GROUP_BYTES 512u
#define GROUP_MIN 4u
#define GROUP_MAX 8u
// A row is widened whole if that takes no more.
#define ROW_BYTES 640u
#define TILE_POSITIONS 3u
// Twice a sum with its bias fits int32; zero point and rounding, shifted, and a product's high half
// fit it together.
#define SUM_MAX 0x3FFFFFFFu
#define SHIFT_MAX 22u

// The windows of a row of outputs.
struct windows {
    const int8_t *first;
    uint32_t step;  // bytes from a position to the next one
    uint32_t pitch; // bytes from a line to the next one
    uint32_t lines;
    uint32_t line_bytes; // of a window's line
    uint32_t line_words; // the same in words, the last one filled up
    uint32_t count;      // positions
};

// A position alone is both of two.
static inline uint32_t tile_words(uint32_t width, uint32_t blocks)
{
    return (width == 3 ? 6 : 4) * blocks;
}

static void widen(const struct windows *w, const int8_t *at, uint32_t width, uint32_t *x)
{
    const uint32_t skip = w->pitch - 4 * w->line_words;
    if (width == 3) {
        cl_widen_3(x, at, w->step, w->line_words, w->lines, skip);
    } else {
        cl_widen_2(x, at, width == 2 ? w->step : 0, w->line_words, w->lines, skip);
    }
}

// Sums of two channels' weights a and b, those of b 128 more each: 256 a + b, and b.
struct sums {
    int32_t both;
    uint32_t second;
};

// Where the next four inputs of both channels are, and where they go.
struct packing {
    const int8_t *a;
    const int8_t *b;
    uint32_t *to;
    struct sums sums;
};

static inline void pack_four(struct packing *p)
{
    uint32_t a, b, even, odd;
    __asm volatile("ldr %[word_a], [%[a]], #4\n"
                   "ldr %[word_b], [%[b]], #4\n"
                   "and %[even], %[mask], %[word_a], lsl #8\n"
                   "and %[odd], %[mask], %[word_a]\n"
                   "sxtab16 %[even], %[even], %[word_b]\n"
                   "sxtab16 %[odd], %[odd], %[word_b], ror #8\n"
                   "smlad %[both], %[even], %[ones], %[both]\n"
                   "smlad %[both], %[odd], %[ones], %[both]\n"
                   "eor %[word_b], #0x80808080\n"
                   "usada8 %[second], %[word_b], %[zero], %[second]\n"
                   "strd %[even], %[odd], [%[to]], #8\n"
                   : [word_a] "=&r"(a), [word_b] "=&r"(b), [even] "=&r"(even), [odd] "=&r"(odd),
                     [a] "+r"(p->a), [b] "+r"(p->b), [to] "+r"(p->to), [both] "+r"(p->sums.both),
                     [second] "+r"(p->sums.second)
                   : [mask] "r"(0xFF00FF00u), [ones] "r"(0x00010001u), [zero] "r"(0)
                   : "memory");
}

static inline void pack_words(struct packing *p, uint32_t words)
{
    struct packing at = *p;
    const int8_t *const fours = at.a + (words & ~(uint32_t)3) * 4, *const end = at.a + words * 4;
    while (at.a != fours) {
        pack_four(&at);
        pack_four(&at);
        pack_four(&at);
        pack_four(&at);
    }
    while (at.a != end) {
        pack_four(&at);
    }
    *p = at;
}

// Lays out two channels' weights for the tiles, lines filled up to whole words with 0.
static struct sums pack(const struct windows *w, const int8_t *a, const int8_t *b, uint32_t *to)
{
    const uint32_t rest = w->line_bytes & 3u, whole = w->line_bytes - rest;
    struct packing packing = {a, b, to, {0, 0}};
    if (rest == 0) {
        pack_words(&packing, w->line_words * w->lines);
        return packing.sums;
    }
    for (uint32_t line = 0; line < w->lines; line++, a += w->line_bytes, b += w->line_bytes) {
        int8_t last[2][4] = {{0}};
        memcpy(last[0], a + whole, (size_t)rest);
        memcpy(last[1], b + whole, (size_t)rest);
        packing.a = a;
        packing.b = b;
        pack_words(&packing, whole / 4);
        packing.a = last[0];
        packing.b = last[1];
        pack_four(&packing);
    }
    return packing.sums;
}

// What the tiles need of a channel; `sum` is of its weights. Returns whether they are exact then.
static inline bool describe(const struct cl_conv_params *p, uint32_t channel, int32_t sum,
                            uint32_t limit, uint32_t away, int32_t entry[4])
{
    const int32_t folded = p->bias[channel] - p->input_zero_point * sum;
    const uint32_t shift = (uint32_t)-p->shift[channel];
    // Of what is not exact any numbers do.
    const uint32_t right = shift & 31u;
    entry[0] = (int32_t)((uint32_t)folded << 1);
    entry[1] = p->multiplier[channel];
    entry[2] = (int32_t)(((1u << right) >> 1) + ((uint32_t)p->output_zero_point << right));
    entry[3] = (int32_t)right;
    return (uint32_t)folded + limit <= 2 * limit && shift - away <= SHIFT_MAX - away;
}

// One channel of a row without tiles.
static void run_channel(const struct cl_conv_params *p, const struct windows *w, uint32_t channel,
                        int8_t *y)
{
    const int8_t *at = w->first;
    for (uint32_t i = 0; i < w->count; i++, at += w->step, y += p->output.channels) {
        const int8_t *weights = p->weights + channel * w->lines * w->line_bytes;
        int32_t sum = p->bias[channel];
        for (uint32_t line = 0; line < w->lines; line++, weights += w->line_bytes) {
            sum += cl_dot(weights, at + line * w->pitch, w->line_bytes, -p->input_zero_point);
        }
        y[channel] = cl_channel(p, sum, channel);
    }
}

// What is in scratch at a time.
struct portion {
    uint32_t positions;
    uint32_t channels;
};

static struct portion portion_of(uint32_t blocks, uint32_t width)
{
    const uint32_t channels = GROUP_BYTES / (8 * blocks) * 2;
    const bool fits = width > TILE_POSITIONS && 8 * blocks * width <= ROW_BYTES;
    const struct portion portion = {
        .positions = fits ? width : TILE_POSITIONS,
        .channels = channels < GROUP_MIN   ? GROUP_MIN
                    : channels < GROUP_MAX ? channels
                                           : GROUP_MAX,
    };
    return portion;
}

// How a row is widened.
enum widening { ONCE, ALREADY, BY_TILE };

// All tiles of a row, for `count` channels.
static void run_tiles(const struct windows *w, struct cl_tile tile, uint32_t *x,
                      enum widening widening, uint32_t channels, uint32_t count)
{
    const int8_t *at = w->first;
    for (uint32_t left = w->count, width; left > 0; left -= width) {
        width = cl_tile_width(left);
        if (widening != ALREADY) {
            widen(w, at, width, x);
        }
        tile.x = x;
        tile.y_stride = width > 1 ? channels : 0;
        tile.y_end = tile.y + count;
        if (width == 3) {
            cl_tile_of_3(&tile);
        } else {
            cl_tile_of_2(&tile);
        }
        x += widening == BY_TILE ? 0 : tile_words(width, tile.blocks);
        at += width * w->step;
        tile.y += width * channels;
    }
}

// `count` channels, in pairs, from `channel` on of a row.
static void run_group(const struct cl_conv_params *p, const struct windows *w, uint32_t channel,
                      uint32_t count, uint32_t *packed, uint32_t *x, enum widening widening,
                      int8_t *y)
{
    const uint32_t taps = w->lines * w->line_bytes, blocks = w->lines * w->line_words;
    const uint32_t limit = SUM_MAX - 128 * 128 * taps;
    const uint32_t away = p->activation_min < p->output_zero_point;
    const int8_t *a = p->weights + channel * taps;
    int32_t entries[GROUP_MAX][4];
    uint32_t inexact = 0;
    for (uint32_t i = 0; i < count; i += 2, a += 2 * taps) {
        const struct sums sums = pack(w, a, a + taps, packed + i * blocks);
        const int32_t second = (int32_t)(sums.second - 512 * blocks);
        const int32_t first = (sums.both - second) >> 8;
        inexact |= (uint32_t)!describe(p, channel + i, first, limit, away, entries[i]) << i;
        inexact |= (uint32_t)!describe(p, channel + i + 1, second, limit, away, entries[i + 1])
                   << (i + 1);
    }
    const struct cl_tile tile = {.channels = entries[0],
                                 .y = y + channel,
                                 .weights = packed,
                                 .blocks = blocks,
                                 .away = away};
    run_tiles(w, tile, x, widening, p->output.channels, count);
    for (uint32_t i = 0; inexact >> i != 0; i++) {
        if ((inexact >> i & 1u) != 0) {
            run_channel(p, w, channel + i, y);
        }
    }
}

static void run_row(const struct cl_conv_params *p, const struct windows *w,
                    const struct portion *most, uint32_t *scratch, int8_t *y)
{
    const uint32_t channels = p->output.channels, whole = channels & ~(uint32_t)1;
    uint32_t *const x = scratch + most->channels * w->lines * w->line_words;
    enum widening widening = w->count <= most->positions ? ONCE : BY_TILE;
    for (uint32_t channel = 0; channel < whole; channel += most->channels) {
        const uint32_t rest = whole - channel;
        const uint32_t count = rest < most->channels ? rest : most->channels;
        run_group(p, w, channel, count, scratch, x, widening, y);
        widening = widening == ONCE ? ALREADY : widening;
    }
    if (channels != whole) {
        // The last channel comes in a pair with the one before it once more.
        run_group(p, w, channels - 2, 2, scratch, x, widening, y);
    }
    if (p->activation_min != INT8_MIN || p->activation_max != INT8_MAX) {
        cl_clamp_bytes(y, w->count * channels, p->activation_min, p->activation_max);
    }
}

// Bytes of a line that is copied to scratch; 0 when windows lie in the input, in whole words.
static uint32_t copied_pitch(const struct cl_conv_params *p, const struct windows *w)
{
    const int32_t width = (p->output.width - 1) * p->stride_width + p->kernel_width - p->pad_left;
    const int32_t height =
        (p->output.height - 1) * p->stride_height + p->kernel_height - p->pad_top;
    const bool leaves = p->pad_left || p->pad_top || width > p->input.width ||
                        height > p->input.height || w->line_bytes % 4 != 0;
    const uint32_t bytes = (p->output.width - 1u) * w->step + 4 * w->line_words;
    return leaves ? (bytes + 3u) & ~(uint32_t)3u : 0;
}

void cl_conv2d_plain_armv7em(const void *params, const int8_t *input, const int8_t *second,
                             int8_t *output, int8_t *scratch)
{
    const struct cl_conv_params *p = params;
    const uint32_t input_pitch = (uint32_t)p->input.width * p->input.channels;
    struct windows w = {.step = (uint32_t)p->stride_width * p->input.channels,
                        .lines = p->kernel_height,
                        .line_bytes = (uint32_t)p->kernel_width * p->input.channels,
                        .line_words = ((uint32_t)p->kernel_width * p->input.channels + 3) / 4};
    const struct cl_packed_params copied = {.input = p->input,
                                            .kernel_height = p->kernel_height,
                                            .stride_height = p->stride_height,
                                            .pad_top = p->pad_top,
                                            .pad_left = p->pad_left,
                                            .input_zero_point = p->input_zero_point,
                                            .line_pitch = copied_pitch(p, &w)};
    const uint32_t blocks = w.lines * w.line_words;
    const struct portion most = portion_of(blocks, p->output.width);
    int8_t *const lines = scratch + (most.channels + 2 * most.positions) * 4 * blocks;
    uint32_t height = p->output.height;
    (void)second;
    w.count = p->output.width;
    w.pitch = copied.line_pitch ? copied.line_pitch : input_pitch;
    if (!copied.line_pitch && w.lines * p->kernel_width * p->stride_height * p->stride_width == 1) {
        // One long row: fewer positions are left over at ends of rows.
        w.count *= height;
        height = 1;
    }
    for (uint32_t y = 0; y < height; y++, output += w.count * p->output.channels) {
        w.first = input + y * p->stride_height * input_pitch;
        if (copied.line_pitch) {
            cl_copy_lines(&copied, input, y, lines);
            w.first = lines;
        }
        run_row(p, &w, &most, (uint32_t *)(void *)scratch, output);
    }
}

void cl_conv2d_plain_armv7em_rows(const void *params, const int8_t *input, uint16_t begin,
                                  int8_t *output, int8_t *scratch, uint16_t first, uint16_t count)
{
    cl_conv_rows(cl_conv2d_plain_armv7em, params, input, begin, output, scratch, first, count);
}
#endif
