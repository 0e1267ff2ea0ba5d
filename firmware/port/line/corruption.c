// Corrupts frames in every way a line can and counts what the frame layer still takes for a frame:
// for `cutlayer bench frames`. A native shared library; nothing of it runs on a board.
#include <string.h>

#include "cutlayer/link.h"

#define PAYLOAD_MAX 952u
#define BODY_MAX (CL_LINK_HEADER_BYTES + PAYLOAD_MAX)
#define LINE_MAX (3u * CL_FRAME_BYTES(BODY_MAX))

enum damage {
    FLIP_1, // so many bits of the frame
    FLIP_2,
    FLIP_3,
    FLIP_MANY,   // 4 to 16
    BURST_SHORT, // anything within 32 bits
    BURST_LONG,  // anything within 33 to 256 bits
    TRUNCATE,    // the frame's end is lost, and the next frame follows
    DELETE,      // some bytes are lost
    INSERT,      // some bytes come in
    SPLICE,      // the beginning of one frame and the end of another
    DAMAGE_COUNT
};

struct tally {
    uint64_t corrupted;
    uint64_t accepted; // a body was taken that nobody sent
};

struct corruption {
    uint64_t state; // of the noise, not 0
    struct tally tallies[DAMAGE_COUNT];
    uint8_t bodies[2][BODY_MAX];
    uint32_t body_bytes[2];
    uint8_t frames[2][CL_FRAME_BYTES(BODY_MAX)];
    uint32_t frame_bytes[2];
    uint8_t line[LINE_MAX];
    uint32_t count;
    uint8_t decoded[BODY_MAX + CL_FRAME_CRC_BYTES];
};

// xorshift64* (Vigna 2016).
static uint32_t noise(struct corruption *c)
{
    c->state ^= c->state >> 12;
    c->state ^= c->state << 25;
    c->state ^= c->state >> 27;
    return (uint32_t)((c->state * 2685821657736338717u) >> 32);
}

static uint32_t below(struct corruption *c, uint32_t bound)
{
    return (uint32_t)(((uint64_t)noise(c) * bound) >> 32);
}

// Short frames mostly: they are the ones that a line is full of, and the quickest.
static int make_frame(struct corruption *c, uint32_t which)
{
    uint32_t payload = below(c, 64) == 0 ? below(c, PAYLOAD_MAX + 1u) : below(c, 33);
    uint32_t bytes = CL_LINK_HEADER_BYTES + payload;
    uint32_t zeros = below(c, 4); // one byte in so many is 0; none
    for (uint32_t i = 0; i < bytes; i++) {
        c->bodies[which][i] = (uint8_t)(zeros && below(c, 4 * zeros) == 0 ? 0 : noise(c));
    }
    // Kind and connection are never 0 (SPEC.md, section 2). It matters: behind a body and its
    // CRC-32 the register is what four zero bytes make of it, so a frame that lost its end would
    // take the next one for its own if that one began with four zero bytes and had lost them.
    c->bodies[which][0] = (uint8_t)(1u + below(c, 6));
    c->bodies[which][1] = 0;
    c->bodies[which][2] |= 1u;
    int32_t framed =
        cl_frame_encode(c->frames[which], sizeof c->frames[which], c->bodies[which], bytes);
    c->body_bytes[which] = bytes;
    c->frame_bytes[which] = framed < 0 ? 0 : (uint32_t)framed;
    return framed > 0;
}

static void append(struct corruption *c, const uint8_t *data, uint32_t count)
{
    memcpy(c->line + c->count, data, count);
    c->count += count;
}

static void flip(struct corruption *c, uint32_t bits)
{
    for (uint32_t i = 0; i < bits; i++) {
        uint32_t bit = below(c, 8u * c->count);
        c->line[bit / 8u] ^= (uint8_t)(1u << (bit % 8u));
    }
}

static void burst(struct corruption *c, uint32_t bits)
{
    uint32_t all = 8u * c->count, length = bits < all ? bits : all;
    uint32_t first = below(c, all - length + 1u);
    for (uint32_t bit = first; bit < first + length; bit++) {
        c->line[bit / 8u] ^= (uint8_t)((noise(c) & 1u) << (bit % 8u));
    }
}

static void insert(struct corruption *c)
{
    uint32_t at = below(c, c->count), more = 1u + below(c, 8);
    memmove(c->line + at + more, c->line + at, c->count - at);
    for (uint32_t i = 0; i < more; i++) {
        c->line[at + i] = (uint8_t)noise(c);
    }
    c->count += more;
}

static void delete(struct corruption *c)
{
    uint32_t at = below(c, c->count), less = 1u + below(c, 8);
    less = less < c->count - at ? less : c->count - at;
    memmove(c->line + at, c->line + at + less, c->count - at - less);
    c->count -= less;
}

static void corrupt(struct corruption *c, enum damage damage)
{
    const uint8_t *first = c->frames[0], *second = c->frames[1];
    c->count = 0;
    if (damage == TRUNCATE || damage == SPLICE) {
        append(c, first, 1u + below(c, c->frame_bytes[0] - 1u));
        uint32_t from = damage == SPLICE ? below(c, c->frame_bytes[1]) : 0;
        append(c, second + from, c->frame_bytes[1] - from);
        return;
    }
    append(c, first, c->frame_bytes[0]);
    switch (damage) {
    case FLIP_1:
    case FLIP_2:
    case FLIP_3:
        flip(c, 1u + (uint32_t)(damage - FLIP_1));
        break;
    case FLIP_MANY:
        flip(c, 4u + below(c, 13));
        break;
    case BURST_SHORT:
        burst(c, 2u + below(c, 31));
        break;
    case BURST_LONG:
        burst(c, 33u + below(c, 224));
        break;
    case INSERT:
        insert(c);
        break;
    default:
        delete(c);
        break;
    }
}

static int was_sent(const struct corruption *c, uint32_t bytes)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (bytes == c->body_bytes[i] && memcmp(c->decoded, c->bodies[i], bytes) == 0) {
            return 1;
        }
    }
    return 0;
}

// Returns 1 when a body is taken that nobody sent.
static int is_accepted(struct corruption *c)
{
    struct cl_frame_decoder decoder;
    static const uint8_t end[1] = {0};
    append(c, end, 1);
    cl_frame_decoder_init(&decoder, c->decoded, sizeof c->decoded);
    for (uint32_t at = 0, used; at < c->count; at += used) {
        int32_t result = cl_frame_decode(&decoder, c->line + at, c->count - at, &used);
        // Shorter than a header is malformed to the link.
        if (result >= (int32_t)CL_LINK_HEADER_BYTES && !was_sent(c, (uint32_t)result)) {
            return 1;
        }
    }
    return 0;
}

uint32_t corruption_bytes(void);
void corruption_init(struct corruption *c, uint64_t seed);
int32_t corruption_run(struct corruption *c, uint64_t frames);
void corruption_tally(const struct corruption *c, uint32_t damage, uint64_t *tally);

uint32_t corruption_bytes(void)
{
    return (uint32_t)sizeof(struct corruption);
}

void corruption_init(struct corruption *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    c->state = (seed + 1u) * 0x9E3779B97F4A7C15u | 1u;
}

// Goes on until so many frames have been corrupted. Returns 0, or -1 when a frame cannot be made.
int32_t corruption_run(struct corruption *c, uint64_t frames)
{
    for (uint64_t i = 0; i < frames;) {
        enum damage damage = (enum damage)(i % DAMAGE_COUNT);
        if (!make_frame(c, 0) || !make_frame(c, 1)) {
            return -1;
        }
        corrupt(c, damage);
        if (c->count == c->frame_bytes[0] && memcmp(c->line, c->frames[0], c->count) == 0) {
            continue; // as it was
        }
        c->tallies[damage].corrupted++;
        c->tallies[damage].accepted += (uint64_t)is_accepted(c);
        i++;
    }
    return 0;
}

// Two numbers: corrupted and accepted.
void corruption_tally(const struct corruption *c, uint32_t damage, uint64_t *tally)
{
    tally[0] = c->tallies[damage].corrupted;
    tally[1] = c->tallies[damage].accepted;
}
