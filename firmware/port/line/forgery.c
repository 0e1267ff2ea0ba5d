// Corrupts sealed bodies in every way and gives them a good CRC-32, as if the frame layer had not
// noticed: for `cutlayer bench frames`. A native shared library; nothing of it runs on a board.
#include <string.h>

#include "cutlayer/link.h"
#include "guard/guard_monocypher.h"

#define PAYLOAD_MAX 64u
#define BODY_MAX (CL_LINK_HEADER_BYTES + PAYLOAD_MAX + CL_GUARD_FRAME_BYTES)
#define CONNECTION 7u

struct forgery {
    uint64_t state;                  // of the noise, not 0
    struct guard_monocypher ends[2]; // host, board
    uint8_t bodies[2][BODY_MAX];     // sealed by the host
    uint32_t body_bytes[2];
    uint64_t forged;
    uint64_t opened;
};

// xorshift64* (Vigna 2016).
static uint32_t noise(struct forgery *f)
{
    f->state ^= f->state >> 12;
    f->state ^= f->state << 25;
    f->state ^= f->state >> 27;
    return (uint32_t)((f->state * 2685821657736338717u) >> 32);
}

static uint32_t below(struct forgery *f, uint32_t bound)
{
    return (uint32_t)(((uint64_t)noise(f) * bound) >> 32);
}

static int32_t random_bytes(void *context, uint8_t *data, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        data[i] = (uint8_t)noise(context);
    }
    return 0;
}

static int32_t seal(struct forgery *f, const struct cl_guard *host, uint32_t which)
{
    uint8_t *body = f->bodies[which];
    uint32_t bytes = CL_LINK_HEADER_BYTES + 1u + below(f, PAYLOAD_MAX);
    for (uint32_t i = 0; i < bytes; i++) {
        body[i] = (uint8_t)noise(f);
    }
    body[0] = 3; // DATA
    body[2] = (uint8_t)CONNECTION;
    body[3] = 0;
    int32_t sealed = host->seal(host->context, body, bytes);
    f->body_bytes[which] = sealed < 0 ? 0 : (uint32_t)sealed;
    return sealed;
}

// Returns 0 when both ends have a sealed connection.
static int32_t connect(struct forgery *f, const struct cl_guard *host, const struct cl_guard *board)
{
    static const uint8_t parameters[CL_GUARD_PARAMETERS_BYTES] = {
        CL_WIRE_VERSION, 0, 0, 1, 0, 8, 4, 0};
    uint8_t syn[CL_GUARD_SYN_ACK_BYTES], answer[CL_GUARD_SYN_ACK_BYTES];
    memcpy(syn, parameters, sizeof parameters);
    memcpy(answer, parameters, sizeof parameters);
    uint32_t bytes = host->introduce(host->context, CONNECTION, syn);
    (void)board->meet(board->context, CONNECTION, syn, bytes);
    bytes = board->introduce(board->context, CONNECTION, answer);
    int32_t result = host->meet(host->context, CONNECTION, answer, bytes);
    const uint8_t *opened = 0;
    if (result == 0 && seal(f, host, 0) > 0) {
        result = board->open(board->context, f->bodies[0], f->body_bytes[0], &opened);
    }
    return result > 0 && opened ? 0 : -1;
}

// A body that nobody sealed. Returns its bytes.
static uint32_t forge(struct forgery *f, uint8_t *body)
{
    uint32_t bytes = f->body_bytes[0], how = below(f, 4);
    memcpy(body, f->bodies[0], bytes);
    if (how == 0) {
        for (uint32_t i = 1u + below(f, 16); i > 0; i--) {
            body[below(f, bytes)] ^= (uint8_t)(1u << below(f, 8));
        }
    } else if (how == 1) {
        for (uint32_t i = below(f, bytes), left = 32; i < bytes && left > 0; i++, left--) {
            body[i] = (uint8_t)noise(f);
        }
    } else if (how == 2) {
        bytes = CL_LINK_HEADER_BYTES + below(f, bytes - CL_LINK_HEADER_BYTES);
    } else {
        uint32_t from = below(f, bytes < f->body_bytes[1] ? bytes : f->body_bytes[1]);
        memcpy(body + from, f->bodies[1] + from, f->body_bytes[1] - from);
        bytes = f->body_bytes[1];
    }
    return bytes;
}

static int is_own(const struct forgery *f, const uint8_t *body, uint32_t bytes)
{
    return (bytes == f->body_bytes[0] && memcmp(body, f->bodies[0], bytes) == 0) ||
           (bytes == f->body_bytes[1] && memcmp(body, f->bodies[1], bytes) == 0);
}

uint32_t forgery_bytes(void);
int32_t forgery_run(struct forgery *f, uint64_t seed, uint64_t bodies);
void forgery_tally(const struct forgery *f, uint64_t *tally);

uint32_t forgery_bytes(void)
{
    return (uint32_t)sizeof(struct forgery);
}

// Forges so many bodies and lets the board's guard open them; between them it opens the host's
// own. Returns 0, or -1 when the ends do not understand each other.
int32_t forgery_run(struct forgery *f, uint64_t seed, uint64_t bodies)
{
    static const uint8_t device_id[CL_GUARD_DEVICE_ID_BYTES] = {1};
    uint8_t key[CL_GUARD_KEY_BYTES], body[BODY_MAX];
    const uint8_t *parameters;
    memset(f, 0, sizeof *f);
    f->state = (seed + 1u) * 0x9E3779B97F4A7C15u | 1u;
    (void)random_bytes(f, key, sizeof key);
    for (uint32_t end = 0; end < 2; end++) {
        struct guard_config config = {end == 0 ? CL_LINK_HOST : CL_LINK_BOARD, random_bytes, f};
        if (guard_monocypher_init(&f->ends[end], &config) < 0) {
            return -1;
        }
        guard_monocypher_set_key(&f->ends[end], device_id, key);
    }
    struct cl_guard host = guard_monocypher(&f->ends[0]), board = guard_monocypher(&f->ends[1]);
    if (connect(f, &host, &board) < 0) {
        return -1;
    }
    while (f->forged < bodies) {
        if (seal(f, &host, 0) < 0 || seal(f, &host, 1) < 0) {
            return -1;
        }
        for (uint32_t i = 0; i < 16 && f->forged < bodies; i++) {
            uint32_t bytes = forge(f, body);
            if (!is_own(f, body, bytes)) {
                f->forged++;
                f->opened += board.open(board.context, body, bytes, &parameters) >= 0;
            }
        }
        if (board.open(board.context, f->bodies[0], f->body_bytes[0], &parameters) <= 0) {
            return -1; // the guard refuses all, and that shows nothing
        }
    }
    return 0;
}

// Two numbers: forged and opened.
void forgery_tally(const struct forgery *f, uint64_t *tally)
{
    tally[0] = f->forged;
    tally[1] = f->opened;
}
