#include "guard/guard_monocypher.h"

#include <string.h>

#include <monocypher.h>

#define NONCE_BYTES 24u // of XChaCha20
#define COUNTER_END UINT32_MAX
#define REPLAY_FRAMES 64u
#define SEALED_AT (CL_LINK_HEADER_BYTES + CL_GUARD_COUNTER_BYTES)

// Places in the transcript.
#define PURPOSE_AT 0u
#define CONNECTION_AT 9u
#define HOST_AT 11u
#define BOARD_AT (HOST_AT + CL_GUARD_SYN_BYTES)
#define DEVICE_ID_AT (BOARD_AT + CL_GUARD_SYN_BYTES)

enum purpose { PURPOSE_KEYS = 1, PURPOSE_PROOF = 2 };

static void put_u32(uint8_t *bytes, uint32_t value)
{
    for (uint32_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> (8u * i));
    }
}

static uint32_t get_u32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

// --- handshake ---

// `made` is BLAKE2b of the transcript under the device's key, of `bytes` bytes.
static void make(struct guard_monocypher *guard, enum purpose purpose, uint8_t *made,
                 uint32_t bytes)
{
    guard->transcript[PURPOSE_AT] = (uint8_t)purpose;
    crypto_blake2b_keyed(made, bytes, guard->key, CL_GUARD_KEY_BYTES, guard->transcript,
                         GUARD_TRANSCRIPT_BYTES);
}

static void make_connection(struct guard_monocypher *guard, uint16_t number,
                            struct guard_connection *connection)
{
    uint8_t keys[2 * CL_GUARD_KEY_BYTES]; // to the board, to the host
    int is_board = guard->config.role == CL_LINK_BOARD;
    make(guard, PURPOSE_KEYS, keys, sizeof keys);
    memset(connection, 0, sizeof *connection);
    connection->valid = 1;
    connection->number = number;
    memcpy(connection->parameters, guard->transcript + HOST_AT, CL_GUARD_PARAMETERS_BYTES);
    memcpy(connection->receiving.key, keys + (is_board ? 0 : CL_GUARD_KEY_BYTES),
           CL_GUARD_KEY_BYTES);
    memcpy(connection->sending.key, keys + (is_board ? CL_GUARD_KEY_BYTES : 0), CL_GUARD_KEY_BYTES);
    crypto_wipe(keys, sizeof keys);
}

// The host's part: what it sent, or is about to send.
static void greet(struct guard_monocypher *guard, uint16_t number, const uint8_t *syn)
{
    uint8_t *transcript = guard->transcript;
    memcpy(transcript + 1, "cutlayer", 8);
    transcript[CONNECTION_AT] = (uint8_t)(number & 0xFFu);
    transcript[CONNECTION_AT + 1] = (uint8_t)(number >> 8);
    memcpy(transcript + HOST_AT, syn, CL_GUARD_SYN_BYTES);
    guard->greeted = 1;
    guard->answered = 0;
}

static int is_greeted(const struct guard_monocypher *guard, uint16_t number)
{
    return guard->greeted && guard->transcript[CONNECTION_AT] == (number & 0xFFu) &&
           guard->transcript[CONNECTION_AT + 1] == number >> 8;
}

static int32_t meet_host(struct guard_monocypher *guard, uint16_t number, const uint8_t *syn,
                         uint32_t bytes)
{
    int wants_seal = syn[1] != CL_SECURITY_PLAIN;
    if (!guard->has_key && !wants_seal) {
        guard->present.valid = 0;
        return CL_OK;
    }
    // The same SYN again gets the same answer: the host may have the first one by now.
    if (guard->has_key && wants_seal && bytes >= CL_GUARD_SYN_BYTES &&
        !(is_greeted(guard, number) &&
          memcmp(guard->transcript + HOST_AT, syn, CL_GUARD_SYN_BYTES) == 0)) {
        greet(guard, number, syn);
    }
    return CL_ERROR_KEY;
}

static int32_t meet_board(struct guard_monocypher *guard, uint16_t number, const uint8_t *syn_ack,
                          uint32_t bytes)
{
    const uint8_t *device_id = syn_ack + CL_GUARD_SYN_BYTES;
    uint8_t proof[CL_GUARD_PROOF_BYTES];
    if (!guard->has_key) {
        guard->present.valid = 0;
        return syn_ack[1] == CL_SECURITY_PLAIN ? CL_OK : CL_ERROR_KEY;
    }
    if (syn_ack[1] == CL_SECURITY_PLAIN || bytes < CL_GUARD_SYN_ACK_BYTES ||
        !is_greeted(guard, number) ||
        memcmp(device_id, guard->device_id, CL_GUARD_DEVICE_ID_BYTES) != 0) {
        return CL_ERROR_KEY;
    }
    memcpy(guard->transcript + BOARD_AT, syn_ack, CL_GUARD_SYN_BYTES + CL_GUARD_DEVICE_ID_BYTES);
    make(guard, PURPOSE_PROOF, proof, sizeof proof);
    if (crypto_verify16(proof, device_id + CL_GUARD_DEVICE_ID_BYTES) != 0) {
        return CL_ERROR_KEY;
    }
    make_connection(guard, number, &guard->present);
    guard->greeted = 0;
    return CL_OK;
}

static int32_t meet(void *context, uint16_t number, const uint8_t *parameters, uint32_t bytes)
{
    struct guard_monocypher *guard = context;
    return guard->config.role == CL_LINK_BOARD ? meet_host(guard, number, parameters, bytes)
                                               : meet_board(guard, number, parameters, bytes);
}

static uint32_t introduce_host(struct guard_monocypher *guard, uint16_t number, uint8_t *syn)
{
    if (!is_greeted(guard, number)) {
        if (guard->config.random(guard->config.context, syn + CL_GUARD_PARAMETERS_BYTES,
                                 CL_GUARD_NONCE_BYTES) < 0) {
            return CL_GUARD_PARAMETERS_BYTES;
        }
        greet(guard, number, syn);
    }
    memcpy(syn, guard->transcript + HOST_AT, CL_GUARD_SYN_BYTES);
    return CL_GUARD_SYN_BYTES;
}

static uint32_t introduce_board(struct guard_monocypher *guard, uint16_t number, uint8_t *syn_ack)
{
    uint8_t *answer = guard->transcript + BOARD_AT;
    if (!is_greeted(guard, number)) {
        return CL_GUARD_PARAMETERS_BYTES;
    }
    if (!guard->answered) {
        memcpy(answer, syn_ack, CL_GUARD_PARAMETERS_BYTES);
        memcpy(guard->transcript + DEVICE_ID_AT, guard->device_id, CL_GUARD_DEVICE_ID_BYTES);
        if (guard->config.random(guard->config.context, answer + CL_GUARD_PARAMETERS_BYTES,
                                 CL_GUARD_NONCE_BYTES) < 0) {
            return CL_GUARD_PARAMETERS_BYTES;
        }
        make_connection(guard, number, &guard->pending);
        guard->answered = 1;
    }
    memcpy(syn_ack, answer, CL_GUARD_SYN_BYTES + CL_GUARD_DEVICE_ID_BYTES);
    make(guard, PURPOSE_PROOF, syn_ack + CL_GUARD_SYN_BYTES + CL_GUARD_DEVICE_ID_BYTES,
         CL_GUARD_PROOF_BYTES);
    return CL_GUARD_SYN_ACK_BYTES;
}

static uint32_t introduce(void *context, uint16_t number, uint8_t *parameters)
{
    struct guard_monocypher *guard = context;
    if (!guard->has_key) {
        return CL_GUARD_PARAMETERS_BYTES;
    }
    parameters[1] = CL_SECURITY_SEALED;
    return guard->config.role == CL_LINK_BOARD ? introduce_board(guard, number, parameters)
                                               : introduce_host(guard, number, parameters);
}

// --- frames ---

static int32_t seal(void *context, uint8_t *body, uint32_t bytes)
{
    struct guard_monocypher *guard = context;
    struct guard_way *way = &guard->present.sending;
    uint32_t count = bytes - CL_LINK_HEADER_BYTES;
    uint8_t nonce[NONCE_BYTES] = {0};
    if (!guard->present.valid || way->counter == COUNTER_END) {
        return CL_ERROR_KEY;
    }
    memmove(body + SEALED_AT, body + CL_LINK_HEADER_BYTES, count);
    put_u32(body + CL_LINK_HEADER_BYTES, way->counter);
    put_u32(nonce, way->counter++);
    crypto_aead_lock(body + SEALED_AT, body + SEALED_AT + count, way->key, nonce, body, SEALED_AT,
                     body + SEALED_AT, count);
    return (int32_t)(bytes + CL_GUARD_FRAME_BYTES);
}

// Returns 1 for a frame that was opened before, or is too old to tell.
static int is_again(const struct guard_way *way, uint32_t counter)
{
    uint32_t age = way->counter - 1u - counter; // of a frame that is not newer than all before
    return counter < way->counter && (age >= REPLAY_FRAMES || (way->opened >> age & 1u) != 0);
}

static void note_opened(struct guard_way *way, uint32_t counter)
{
    if (counter >= way->counter) {
        uint32_t shift = counter - way->counter + 1u;
        way->opened = shift < REPLAY_FRAMES ? way->opened << shift : 0;
        way->counter = counter + 1u;
    }
    way->opened |= (uint64_t)1 << (way->counter - 1u - counter);
}

// Opens a body with the keys of `connection`. Returns 1 when it did.
static int open_with(struct guard_monocypher *guard, struct guard_connection *connection,
                     uint8_t *body, uint32_t bytes)
{
    struct guard_way *way = &connection->receiving;
    uint32_t counter = get_u32(body + CL_LINK_HEADER_BYTES);
    uint32_t count = bytes - CL_LINK_HEADER_BYTES - CL_GUARD_FRAME_BYTES;
    uint8_t nonce[NONCE_BYTES] = {0};
    if (!connection->valid || connection->number != (uint16_t)(body[2] | (uint16_t)body[3] << 8) ||
        counter == COUNTER_END) {
        return 0;
    }
    if (is_again(way, counter)) {
        guard->frames_again++;
        return 0;
    }
    put_u32(nonce, counter);
    if (crypto_aead_unlock(body + SEALED_AT, body + SEALED_AT + count, way->key, nonce, body,
                           SEALED_AT, body + SEALED_AT, count) != 0) {
        return 0;
    }
    memmove(body + CL_LINK_HEADER_BYTES, body + SEALED_AT, count);
    note_opened(way, counter);
    return 1;
}

static int32_t open(void *context, uint8_t *body, uint32_t bytes, const uint8_t **parameters)
{
    struct guard_monocypher *guard = context;
    int is_long_enough = bytes >= CL_LINK_HEADER_BYTES + CL_GUARD_FRAME_BYTES;
    if (is_long_enough && open_with(guard, &guard->present, body, bytes)) {
        return (int32_t)(bytes - CL_GUARD_FRAME_BYTES);
    }
    if (is_long_enough && open_with(guard, &guard->pending, body, bytes)) {
        guard->present = guard->pending;
        crypto_wipe(&guard->pending, sizeof guard->pending);
        guard->greeted = guard->answered = 0;
        *parameters = guard->present.parameters;
        return (int32_t)(bytes - CL_GUARD_FRAME_BYTES);
    }
    guard->frames_refused++;
    return CL_ERROR_KEY;
}

// --- set up ---

int32_t guard_monocypher_init(struct guard_monocypher *guard, const struct guard_config *config)
{
    if (config->random == 0) {
        return CL_ERROR_ARGUMENT;
    }
    memset(guard, 0, sizeof *guard);
    guard->config = *config;
    return CL_OK;
}

void guard_monocypher_set_key(struct guard_monocypher *guard, const uint8_t *device_id,
                              const uint8_t *key)
{
    guard->has_key = key != 0;
    guard->greeted = guard->answered = 0;
    crypto_wipe(&guard->pending, sizeof guard->pending);
    crypto_wipe(guard->key, sizeof guard->key);
    if (guard->has_key) {
        memcpy(guard->device_id, device_id, sizeof guard->device_id);
        memcpy(guard->key, key, sizeof guard->key);
    }
}

struct cl_guard guard_monocypher(struct guard_monocypher *guard)
{
    return (struct cl_guard){
        .context = guard, .meet = meet, .introduce = introduce, .seal = seal, .open = open};
}
