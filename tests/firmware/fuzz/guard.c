#include "guard/guard_monocypher.h"

#include "fuzz.h"

// Two guards of one key, a stranger between them who may say and change anything, and an honest
// host. What opens was sealed by the other side, on this connection, and opens once.

#define PAYLOAD 40u
#define BODY (CL_LINK_HEADER_BYTES + PAYLOAD + CL_GUARD_FRAME_BYTES)
#define SENT 64u

struct sealed {
    uint8_t body[BODY];
    uint8_t plain[BODY];
    uint32_t bytes;
    uint32_t plain_bytes;
    int has_opened;
};

struct ends {
    struct guard_monocypher guards[2]; // host, board
    struct cl_guard calls[2];
    struct sealed sent[SENT];
    uint32_t count;
    uint16_t connection;
};

static int32_t noise_bytes(void *context, uint8_t *data, uint32_t count)
{
    (void)context;
    for (uint32_t i = 0; i < count; i++) {
        data[i] = (uint8_t)noise_u32();
    }
    return 0;
}

static void begin(uint8_t *payload)
{
    static const uint8_t parameters[8] = {CL_WIRE_VERSION, 0, 0, 1, 0, 8, 4, 0};
    memcpy(payload, parameters, sizeof parameters);
}

// A SYN of the host or of a stranger, and its answer, whole or changed.
static void shake_hands(struct ends *ends)
{
    struct cl_guard *host = &ends->calls[0], *board = &ends->calls[1];
    uint8_t syn[CL_GUARD_SYN_ACK_BYTES], answer[CL_GUARD_SYN_ACK_BYTES];
    uint16_t connection = (uint16_t)(1 + chosen_below(3));
    begin(syn);
    begin(answer);
    uint32_t bytes = host->introduce(host->context, connection, syn);
    check(bytes == CL_GUARD_SYN_BYTES, "a host with a key says its nonce");
    uint32_t harm = chosen_below(6);
    if (harm == 0) {
        syn[chosen_below(bytes)] ^= (uint8_t)(1 + chosen_below(255));
    } else if (harm == 1) {
        bytes = CL_GUARD_PARAMETERS_BYTES + chosen_below(bytes);
    }
    int32_t result = board->meet(board->context, connection, syn, bytes);
    check(result == CL_ERROR_KEY, "a board with a key opens nothing at a SYN");
    bytes = board->introduce(board->context, connection, answer);
    check(bytes >= CL_GUARD_PARAMETERS_BYTES && bytes <= sizeof answer, "an answer has its bytes");
    if (harm == 2) {
        answer[chosen_below(bytes)] ^= (uint8_t)(1 + chosen_below(255));
    }
    result = host->meet(host->context, connection, answer, bytes);
    check(result == 0 || result == CL_ERROR_KEY, "a proof is good or not");
    check(harm != 2 || result == CL_ERROR_KEY, "a changed answer proves nothing");
    check(harm <= 2 || result == 0, "a handshake that nobody touched is good");
    if (result == 0) {
        check(memcmp(ends->guards[0].present.sending.key, ends->guards[1].pending.receiving.key,
                     CL_GUARD_KEY_BYTES) == 0,
              "both ends have the same keys");
        ends->connection = connection;
        reached(REACH_MESSAGES, 1);
    }
}

static void seal(struct ends *ends)
{
    if (ends->connection == 0) {
        return;
    }
    struct sealed *sealed = &ends->sent[ends->count++ % SENT];
    sealed->plain_bytes = CL_LINK_HEADER_BYTES + chosen_below(PAYLOAD + 1);
    (void)noise_bytes(0, sealed->plain, sealed->plain_bytes);
    sealed->plain[0] = (uint8_t)(3 + chosen_below(4));
    sealed->plain[2] = (uint8_t)ends->connection;
    sealed->plain[3] = 0;
    memcpy(sealed->body, sealed->plain, sealed->plain_bytes);
    struct cl_guard *host = &ends->calls[0];
    int32_t bytes = host->seal(host->context, sealed->body, sealed->plain_bytes);
    check(bytes == (int32_t)(sealed->plain_bytes + CL_GUARD_FRAME_BYTES), "a body is sealed");
    sealed->bytes = (uint32_t)bytes;
    sealed->has_opened = 0;
}

static void open(struct ends *ends)
{
    if (ends->count == 0) {
        return;
    }
    uint32_t last = (ends->count - 1u) % SENT, all = ends->count < SENT ? ends->count : SENT;
    struct sealed *sealed = &ends->sent[chosen_below(3) ? last : chosen_below(all)];
    uint32_t bytes = sealed->bytes, harm = chosen_below(4);
    uint8_t *body = block_of(BODY);
    memcpy(body, sealed->body, bytes);
    if (harm == 0) {
        body[chosen_below(bytes)] ^= (uint8_t)(1 + chosen_below(255));
    } else if (harm == 1) {
        bytes = CL_LINK_HEADER_BYTES + chosen_below(bytes - CL_LINK_HEADER_BYTES);
    }
    const uint8_t *parameters = 0;
    int32_t opened = ends->calls[1].open(ends->calls[1].context, body, bytes, &parameters);
    check(opened < 0 || harm > 1, "what was changed does not open");
    if (opened >= 0) {
        check(!sealed->has_opened, "a frame opens once");
        check((uint32_t)opened == sealed->plain_bytes &&
                  memcmp(body, sealed->plain, sealed->plain_bytes) == 0,
              "what opens is what was sealed");
        sealed->has_opened = 1;
        reached(REACH_DELIVERED, 1);
    }
    free(body);
}

// Bytes of any kind.
static void intrude(struct ends *ends)
{
    uint8_t *body = block_of(BODY);
    uint32_t bytes = CL_LINK_HEADER_BYTES + chosen_below(BODY - CL_LINK_HEADER_BYTES + 1);
    const uint8_t *parameters = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        body[i] = (uint8_t)(chosen_below(4) ? 0 : chosen_below(256));
    }
    body[2] = (uint8_t)(1 + chosen_below(3));
    uint32_t end = chosen_below(2);
    check(ends->calls[end].open(ends->calls[end].context, body, bytes, &parameters) < 0 &&
              parameters == 0,
          "what nobody sealed does not open");
    free(body);
}

void fuzz_guard(const uint8_t *data, size_t size)
{
    static const uint8_t device_id[CL_GUARD_DEVICE_ID_BYTES] = {1, 2, 3};
    uint8_t key[CL_GUARD_KEY_BYTES];
    struct ends *ends = block_of(sizeof *ends);
    (void)data;
    (void)size;
    memset(ends, 0, sizeof *ends);
    (void)noise_bytes(0, key, sizeof key);
    for (uint32_t end = 0; end < 2; end++) {
        struct guard_config config = {end == 0 ? CL_LINK_HOST : CL_LINK_BOARD, noise_bytes, 0};
        check(guard_monocypher_init(&ends->guards[end], &config) == 0, "a guard begins");
        guard_monocypher_set_key(&ends->guards[end], device_id, key);
        ends->calls[end] = guard_monocypher(&ends->guards[end]);
    }
    while (choices_left()) {
        switch (chosen_below(8)) {
        case 0:
            shake_hands(ends);
            break;
        case 1:
        case 2:
            seal(ends);
            break;
        case 3:
            intrude(ends);
            break;
        default:
            open(ends);
            break;
        }
    }
    free(ends);
}
