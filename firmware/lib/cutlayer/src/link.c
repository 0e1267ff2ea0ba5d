#include "link_state.h"

static uint8_t *buffer(const struct cl_link *link, uint8_t index)
{
    return link->buffers + (uint32_t)index * link->buffer_bytes;
}

int32_t cl_link_init(struct cl_link *link, const struct cl_link_config *config)
{
    uint32_t body_max =
        CL_LINK_HEADER_BYTES + config->max_payload + (config->guard ? CL_GUARD_FRAME_BYTES : 0u);
    uint32_t frame_max = cl_frame_bytes(body_max);
    uint32_t buffer_bytes = CL_LINK_BODY_BYTES(body_max - CL_LINK_HEADER_BYTES);
    uint32_t stage_at = buffer_bytes * (config->window_frames + 1u);
    uint32_t memory_bytes = stage_at + ((frame_max + 3u) & ~(uint32_t)3u);
    if (config->max_payload < CL_LINK_PAYLOAD_MIN || config->max_payload > CL_LINK_PAYLOAD_MAX ||
        config->window_frames < 1 || config->window_frames > CL_WINDOW_FRAMES_MAX ||
        config->window_bytes < frame_max || config->encode == 0) {
        return CL_ERROR_ARGUMENT;
    }
    if (config->memory == 0 || config->memory_bytes < memory_bytes) {
        return CL_ERROR_MEMORY;
    }
    memset(link, 0, sizeof *link);
    link->config = *config;
    if (link->config.dead_ms == 0) {
        link->config.dead_ms = CL_LINK_DEAD_MS;
    }
    link->buffers = config->memory;
    link->buffer_bytes = (uint16_t)buffer_bytes;
    link->stage = link->buffers + stage_at;
    link->stage_capacity = (uint16_t)frame_max;
    link->stage_body = link->stage + (frame_max - body_max - CL_FRAME_CRC_BYTES - 1u);
    link->stage_seq = -1;
    cl_frame_decoder_init(&link->decoder, link->buffers, body_max + CL_FRAME_CRC_BYTES);
    link->receiving.frames = config->window_frames;
    return (int32_t)memory_bytes;
}

// --- connection ---

static void forget(struct cl_link *link, uint32_t now_ms)
{
    cl_send_window_open(&link->sending, 0, 0, now_ms);
    cl_receive_window_open(&link->receiving);
    link->syn_due = link->ack_due = link->ping_due = link->seal_bytes = 0;
    link->credit_sent = link->config.window_bytes;
    link->stage_seq = -1;
    if (link->stage_written == 0) {
        link->stage_bytes = 0; // a frame half written goes out whole: the other side drops it
    }
}

void cl_link_lose(struct cl_link *link)
{
    if (link->state != CL_LINK_CLOSED) {
        link->events |= CL_LINK_LOST;
    }
    link->state = CL_LINK_CLOSED;
    forget(link, 0);
}

void cl_link_interrupted(struct cl_link *link)
{
    cl_frame_decoder_init(&link->decoder, link->decoder.body, link->decoder.capacity);
    link->stage_bytes = link->stage_written = 0;
    link->stage_seq = -1;
}

static uint8_t seal_bytes(const uint8_t *parameters)
{
    return parameters[1] != CL_SECURITY_PLAIN ? CL_GUARD_FRAME_BYTES : 0;
}

static void open_connection(struct cl_link *link, const uint8_t *body, const uint8_t *parameters,
                            uint32_t now_ms)
{
    forget(link, now_ms);
    link->state = CL_LINK_OPEN;
    link->connection = cl_get_u16(body + CL_LINK_CONNECTION);
    link->peer_max_payload = cl_get_u16(parameters + 2);
    link->seal_bytes = seal_bytes(parameters);
    cl_send_window_open(&link->sending, cl_get_u16(parameters + 6), cl_get_u16(parameters + 4),
                        now_ms);
    link->heard_ms = now_ms;
    link->events |= CL_LINK_OPENED;
}

static int parameters_are_valid(const uint8_t *parameters)
{
    uint16_t max_payload = cl_get_u16(parameters + 2);
    uint16_t window_frames = cl_get_u16(parameters + 6);
    return max_payload >= CL_LINK_PAYLOAD_MIN && max_payload <= CL_LINK_PAYLOAD_MAX &&
           cl_get_u16(parameters + 4) >=
               cl_frame_bytes(CL_LINK_HEADER_BYTES + max_payload + seal_bytes(parameters)) &&
           window_frames >= 1 && window_frames <= CL_WINDOW_FRAMES_MAX;
}

// Returns 1 when this SYN or SYN_ACK makes a connection now.
static int meet(const struct cl_link *link, const uint8_t *body, uint32_t bytes)
{
    const struct cl_guard *guard = link->config.guard;
    const uint8_t *parameters = body + CL_LINK_HEADER_BYTES;
    if (parameters[0] != CL_WIRE_VERSION) {
        return 0;
    }
    if (!guard) {
        return parameters[1] == CL_SECURITY_PLAIN;
    }
    return guard->meet(guard->context, cl_get_u16(body + CL_LINK_CONNECTION), parameters,
                       bytes - CL_LINK_HEADER_BYTES) == 0;
}

// The host's end of the handshake.
static void take_syn_ack(struct cl_link *link, const uint8_t *body, uint32_t bytes, uint32_t now_ms)
{
    if (meet(link, body, bytes)) {
        open_connection(link, body, body + CL_LINK_HEADER_BYTES, now_ms);
        link->ping_due = link->seal_bytes; // the board waits for the first sealed frame
    } else if (body[CL_LINK_HEADER_BYTES] != CL_WIRE_VERSION) {
        cl_link_lose(link);
        link->events |= CL_LINK_REFUSED;
    }
}

int32_t cl_link_connect(struct cl_link *link, uint16_t connection, uint32_t now_ms)
{
    if (link->config.role != CL_LINK_HOST || connection == 0) {
        return CL_ERROR_ARGUMENT;
    }
    forget(link, now_ms);
    link->state = CL_LINK_CONNECTING;
    link->take_syn_ack = take_syn_ack;
    link->connection = connection;
    link->zero_due = 1;
    link->syn_due = 1;
    link->heard_ms = now_ms;
    return 0;
}

// --- receiving ---

// Returns 0 for a body that its kind does not allow.
static int body_is_valid(const uint8_t *body, uint32_t bytes)
{
    const uint8_t *payload = body + CL_LINK_HEADER_BYTES;
    uint32_t payload_bytes = bytes - CL_LINK_HEADER_BYTES;
    if (cl_get_u16(body + CL_LINK_CONNECTION) == 0) {
        return 0;
    }
    switch (body[CL_LINK_KIND]) {
    case CL_FRAME_SYN:
    case CL_FRAME_SYN_ACK:
        // Only the version of another wire version is known to lie where it lies here.
        return payload_bytes >= CL_GUARD_PARAMETERS_BYTES &&
               (payload[0] != CL_WIRE_VERSION || parameters_are_valid(payload));
    case CL_FRAME_DATA:
        return payload_bytes > 0;
    case CL_FRAME_ACK:
    case CL_FRAME_RESET:
    case CL_FRAME_PING:
        // Those of a sealed connection that is not here any more are answered all the same.
        return payload_bytes == 0 || payload_bytes == CL_GUARD_FRAME_BYTES;
    default:
        return 0;
    }
}

static void take_connected(struct cl_link *link, const uint8_t *body, uint32_t bytes,
                           uint32_t now_ms)
{
    uint8_t kind = body[CL_LINK_KIND];
    if (kind == CL_FRAME_SYN_ACK) {
        return; // a repeat
    }
    link->heard_ms = now_ms;
    if (kind == CL_FRAME_RESET) {
        cl_link_lose(link);
        return;
    }
    cl_send_window_acknowledge(&link->sending, cl_get_u16(body + CL_LINK_ACK),
                               cl_get_u16(body + CL_LINK_SACK), cl_get_u16(body + CL_LINK_CREDIT),
                               now_ms);
    if (kind != CL_FRAME_ACK) {
        link->ack_due = 1;
    }
    if (kind == CL_FRAME_DATA) {
        cl_receive_window_take(&link->receiving, cl_get_u16(body + CL_LINK_SEQ),
                               (uint16_t)(bytes - CL_LINK_HEADER_BYTES));
        link->decoder.body = buffer(link, link->receiving.filling);
    }
}

// Takes the seal off a body. Returns the bytes left, or an error when it has to be dropped:
// everything that is not sealed on a connection that is, but for a RESET that makes a host connect
// anew.
static int32_t open_seal(struct cl_link *link, uint8_t *body, int32_t bytes, uint32_t now_ms)
{
    const struct cl_guard *guard = link->config.guard;
    const uint8_t *parameters = 0;
    if (!guard || body[CL_LINK_KIND] <= CL_FRAME_SYN_ACK) {
        return bytes;
    }
    int32_t opened = guard->open(guard->context, body, (uint32_t)bytes, &parameters);
    if (parameters) {
        open_connection(link, body, parameters, now_ms);
    }
    if (opened < 0 &&
        (!link->seal_bytes || cl_get_u16(body + CL_LINK_CONNECTION) != link->connection ||
         (body[CL_LINK_KIND] == CL_FRAME_RESET && link->config.role == CL_LINK_HOST))) {
        return bytes;
    }
    return opened;
}

static void take_body(struct cl_link *link, int32_t bytes, uint32_t now_ms)
{
    uint8_t *body = link->decoder.body;
    if (bytes >= (int32_t)CL_LINK_HEADER_BYTES) {
        bytes = open_seal(link, body, bytes, now_ms);
    }
    if (bytes < (int32_t)CL_LINK_HEADER_BYTES || !body_is_valid(body, (uint32_t)bytes)) {
        link->frames_malformed++;
        return;
    }
    link->frames_received++;
    uint16_t connection = cl_get_u16(body + CL_LINK_CONNECTION);
    int ours = link->state != CL_LINK_CLOSED && connection == link->connection;
    if (body[CL_LINK_KIND] == CL_FRAME_SYN) {
        if (link->config.role == CL_LINK_BOARD) {
            int opens = meet(link, body, (uint32_t)bytes);
            if (opens && !ours) {
                open_connection(link, body, body + CL_LINK_HEADER_BYTES, now_ms);
            }
            link->syn_due = 1;
            link->syn_connection = connection;
        }
    } else if (ours && link->state == CL_LINK_OPEN) {
        take_connected(link, body, (uint32_t)bytes, now_ms);
    } else if (ours && body[CL_LINK_KIND] == CL_FRAME_SYN_ACK) {
        link->take_syn_ack(link, body, (uint32_t)bytes, now_ms);
    } else if (!ours && body[CL_LINK_KIND] != CL_FRAME_RESET) {
        link->reset_due = 1;
        link->reset_connection = connection;
    }
}

void cl_link_receive(struct cl_link *link, const uint8_t *data, uint32_t count, uint32_t now_ms)
{
    link->bytes_received += count;
    while (count > 0) {
        uint32_t used;
        int32_t result = cl_frame_decode(&link->decoder, data, count, &used);
        data += used;
        count -= used;
        if (result != 0) {
            take_body(link, result, now_ms);
        }
    }
}

uint32_t cl_link_message(const struct cl_link *link, const uint8_t **payload)
{
    int32_t front = cl_receive_window_front(&link->receiving);
    if (front < 0) {
        return 0;
    }
    *payload = buffer(link, (uint8_t)front) + CL_LINK_HEADER_BYTES;
    return link->receiving.bytes[0];
}

uint16_t cl_link_credit(const struct cl_link *link)
{
    return cl_receive_window_in_order(&link->receiving) > 0 ? 0 : link->config.window_bytes;
}

void cl_link_release(struct cl_link *link)
{
    if (cl_receive_window_front(&link->receiving) < 0) {
        return;
    }
    cl_receive_window_release(&link->receiving);
    if (link->credit_sent == 0 && cl_link_credit(link) > 0) {
        link->ack_due = 1;
    }
}

// --- sending ---

uint32_t cl_link_room(const struct cl_link *link)
{
    return link->state == CL_LINK_OPEN ? cl_send_window_room(&link->sending) : 0;
}

uint32_t cl_link_outstanding(const struct cl_link *link)
{
    return cl_send_window_outstanding(&link->sending);
}

uint32_t cl_link_payload_max(const struct cl_link *link)
{
    return link->peer_max_payload < link->config.max_payload ? link->peer_max_payload
                                                             : link->config.max_payload;
}

int32_t cl_link_send(struct cl_link *link, const struct cl_link_token *token, uint32_t payload_max)
{
    if (link->state != CL_LINK_OPEN) {
        return CL_ERROR_CLOSED;
    }
    if (payload_max == 0 || payload_max > cl_link_payload_max(link)) {
        return CL_ERROR_ARGUMENT;
    }
    if (cl_link_room(link) == 0) {
        return CL_ERROR_MEMORY;
    }
    cl_send_window_push(&link->sending, token,
                        cl_frame_bytes(CL_LINK_HEADER_BYTES + payload_max + link->seal_bytes));
    return 0;
}

uint32_t cl_link_events(struct cl_link *link)
{
    uint32_t events = link->events;
    link->events = 0;
    return events;
}
