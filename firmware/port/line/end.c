// One end of the link as a shared library, for lines in virtual time (cutlayer_host.firmware_link):
// messages are bytes that the caller hands in, and wait here until they have arrived.
#include <string.h>

#include "cutlayer/link.h"
#include "guard/guard_monocypher.h"

#define SLOTS 16u // as many messages as the link takes, or more

struct end {
    struct cl_link link;
    uint8_t waiting[SLOTS][CL_LINK_PAYLOAD_MAX]; // by token.first
    uint32_t waiting_bytes[SLOTS];
    uint32_t sent;
    struct guard_monocypher sealing;
    struct cl_guard guard;
    uint32_t memory[CL_LINK_BYTES(CL_LINK_PAYLOAD_MAX + CL_GUARD_FRAME_BYTES, 17u) / 4];
};

struct end_state {
    uint32_t state;
    uint32_t connection;
    uint32_t room;
    uint32_t outstanding;
    uint32_t payload_max;
    uint32_t peer_max_payload;
    uint32_t frames_received;
    uint32_t frames_malformed;
    uint32_t data_resent;
    uint32_t frames_again;
};

static int32_t write_payload(void *context, const struct cl_link_token *token, uint8_t *payload,
                             uint32_t capacity)
{
    const struct end *end = context;
    uint32_t bytes = end->waiting_bytes[token->first];
    if (bytes > capacity) {
        return CL_ERROR_MEMORY;
    }
    memcpy(payload, end->waiting[token->first], bytes);
    return (int32_t)bytes;
}

uint32_t end_bytes(void);
uint32_t end_bytes(void)
{
    return (uint32_t)sizeof(struct end);
}

// Where an end's random bytes come from, and the key of the one device that it is or knows.
struct end_security {
    int32_t (*random)(void *context, uint8_t *data, uint32_t count);
    uint8_t device_id[CL_GUARD_DEVICE_ID_BYTES];
    uint8_t key[CL_GUARD_KEY_BYTES];
};

// Returns 0 or a cl_error. `role` is a cl_link_role; without `security` connections are plain.
int32_t end_init(struct end *end, uint32_t role, uint32_t max_payload, uint32_t window_bytes,
                 uint32_t window_frames, uint32_t dead_ms, const struct end_security *security);
int32_t end_init(struct end *end, uint32_t role, uint32_t max_payload, uint32_t window_bytes,
                 uint32_t window_frames, uint32_t dead_ms, const struct end_security *security)
{
    memset(end, 0, sizeof *end);
    if (security) {
        const struct guard_config sealing = {.role = (enum cl_link_role)role,
                                             .random = security->random};
        int32_t result = guard_monocypher_init(&end->sealing, &sealing);
        if (result < 0) {
            return result;
        }
        guard_monocypher_set_key(&end->sealing, security->device_id, security->key);
        end->guard = guard_monocypher(&end->sealing);
    }
    const struct cl_link_config config = {
        .role = (enum cl_link_role)role,
        .max_payload = (uint16_t)max_payload,
        .window_frames = (uint16_t)window_frames,
        .window_bytes = (uint16_t)window_bytes,
        .dead_ms = dead_ms,
        .guard = security ? &end->guard : 0,
        .encode = write_payload,
        .context = end,
        .memory = end->memory,
        .memory_bytes = (uint32_t)sizeof end->memory,
    };
    int32_t result = cl_link_init(&end->link, &config);
    return result < 0 ? result : 0;
}

int32_t end_connect(struct end *end, uint32_t connection, uint32_t now_ms);
int32_t end_connect(struct end *end, uint32_t connection, uint32_t now_ms)
{
    return cl_link_connect(&end->link, (uint16_t)connection, now_ms);
}

void end_receive(struct end *end, const uint8_t *data, uint32_t count, uint32_t now_ms);
void end_receive(struct end *end, const uint8_t *data, uint32_t count, uint32_t now_ms)
{
    cl_link_receive(&end->link, data, count, now_ms);
}

// Takes the next message out. Returns its bytes, 0 for none; `payload` has room for
// CL_LINK_PAYLOAD_MAX.
uint32_t end_message(struct end *end, uint8_t *payload);
uint32_t end_message(struct end *end, uint8_t *payload)
{
    const uint8_t *message;
    uint32_t bytes = cl_link_message(&end->link, &message);
    if (bytes > 0) {
        memcpy(payload, message, bytes);
        cl_link_release(&end->link);
    }
    return bytes;
}

int32_t end_send(struct end *end, const uint8_t *payload, uint32_t bytes);
int32_t end_send(struct end *end, const uint8_t *payload, uint32_t bytes)
{
    struct cl_link_token token = {.first = end->sent % SLOTS};
    if (bytes > CL_LINK_PAYLOAD_MAX) {
        return CL_ERROR_ARGUMENT;
    }
    int32_t result = cl_link_send(&end->link, &token, bytes);
    if (result == CL_OK) {
        memcpy(end->waiting[token.first], payload, bytes);
        end->waiting_bytes[token.first] = bytes;
        end->sent++;
    }
    return result;
}

// Writes at most `capacity` bytes for the line to `data`; returns how many.
uint32_t end_transmit(struct end *end, uint8_t *data, uint32_t capacity, uint32_t now_ms);
uint32_t end_transmit(struct end *end, uint8_t *data, uint32_t capacity, uint32_t now_ms)
{
    uint32_t written = 0;
    while (written < capacity) {
        const uint8_t *next;
        uint32_t count = cl_link_transmit(&end->link, now_ms, &next);
        count = count < capacity - written ? count : capacity - written;
        if (count == 0) {
            break;
        }
        memcpy(data + written, next, count);
        cl_link_written(&end->link, count, now_ms);
        written += count;
    }
    return written;
}

uint32_t end_events(struct end *end);
uint32_t end_events(struct end *end)
{
    return cl_link_events(&end->link);
}

uint32_t end_timeout_ms(const struct end *end, uint32_t now_ms);
uint32_t end_timeout_ms(const struct end *end, uint32_t now_ms)
{
    return cl_link_timeout_ms(&end->link, now_ms);
}

void end_state(const struct end *end, struct end_state *state);
void end_state(const struct end *end, struct end_state *state)
{
    state->state = (uint32_t)end->link.state;
    state->connection = end->link.connection;
    state->room = cl_link_room(&end->link);
    state->outstanding = cl_link_outstanding(&end->link);
    state->payload_max = cl_link_payload_max(&end->link);
    state->peer_max_payload = end->link.peer_max_payload;
    state->frames_received = end->link.frames_received;
    state->frames_malformed = end->link.frames_malformed;
    state->data_resent = end->link.data_resent;
    state->frames_again = end->sealing.frames_again;
}
