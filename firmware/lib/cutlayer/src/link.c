#include "link_state.h"

static uint8_t *buffer(const struct cl_link *link, uint8_t index)
{
    return link->buffers + (uint32_t)index * CL_LINK_BODY_BYTES(link->config.max_payload);
}

int32_t cl_link_init(struct cl_link *link, const struct cl_link_config *config)
{
    uint32_t frame_bytes = CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)config->max_payload);
    uint32_t memory_bytes = CL_LINK_BYTES(config->max_payload, config->window_frames);
    if (config->max_payload < CL_LINK_PAYLOAD_MIN || config->max_payload > CL_LINK_PAYLOAD_MAX ||
        config->window_frames < 1 || config->window_frames > CL_WINDOW_FRAMES_MAX ||
        config->window_bytes < frame_bytes || config->encode == 0) {
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
    link->stage = buffer(link, (uint8_t)(config->window_frames + 1));
    link->stage_seq = -1;
    cl_frame_decoder_init(&link->decoder, buffer(link, 0),
                          CL_LINK_HEADER_BYTES + (uint32_t)config->max_payload +
                              CL_FRAME_CRC_BYTES);
    link->receiving.frames = config->window_frames;
    return (int32_t)memory_bytes;
}

// --- connection ---

static void forget(struct cl_link *link)
{
    cl_send_window_open(&link->sending, 0, 0, 0);
    cl_receive_window_open(&link->receiving);
    link->syn_due = link->ack_due = link->ping_due = 0;
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
    forget(link);
}

int32_t cl_link_connect(struct cl_link *link, uint16_t connection, uint32_t now_ms)
{
    if (link->config.role != CL_LINK_HOST || connection == 0) {
        return CL_ERROR_ARGUMENT;
    }
    forget(link);
    link->state = CL_LINK_CONNECTING;
    link->connection = connection;
    link->zero_due = 1;
    link->syn_due = 1;
    link->syn_ms = link->heard_ms = now_ms;
    return 0;
}

void cl_link_interrupted(struct cl_link *link)
{
    cl_frame_decoder_init(&link->decoder, link->decoder.body, link->decoder.capacity);
    link->stage_bytes = link->stage_written = 0;
    link->stage_seq = -1;
}

static void open_connection(struct cl_link *link, const struct cl_frame_header *header,
                            const uint8_t *parameters, uint32_t now_ms)
{
    forget(link);
    link->state = CL_LINK_OPEN;
    link->connection = header->connection;
    link->peer_max_payload = cl_get_u16(parameters + 2);
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
               CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)max_payload) &&
           window_frames >= 1 && window_frames <= CL_WINDOW_FRAMES_MAX;
}

static void take_syn(struct cl_link *link, const struct cl_frame_header *header,
                     const uint8_t *parameters, uint32_t now_ms)
{
    if (link->config.role != CL_LINK_BOARD) {
        return;
    }
    if (parameters[0] == CL_WIRE_VERSION &&
        (link->state != CL_LINK_OPEN || link->connection != header->connection)) {
        open_connection(link, header, parameters, now_ms);
    }
    link->syn_due = 1;
    link->syn_connection = header->connection;
}

static void take_syn_ack(struct cl_link *link, const struct cl_frame_header *header,
                         const uint8_t *parameters, uint32_t now_ms)
{
    if (link->state != CL_LINK_CONNECTING) {
        return;
    }
    if (parameters[0] == CL_WIRE_VERSION) {
        open_connection(link, header, parameters, now_ms);
    } else {
        cl_link_lose(link);
        link->events |= CL_LINK_REFUSED;
    }
}

// --- receiving ---

// Returns 0 for a body that its kind does not allow.
static int body_is_valid(const struct cl_frame_header *header, const uint8_t *payload,
                         uint32_t payload_bytes)
{
    if (header->connection == 0) {
        return 0;
    }
    switch (header->kind) {
    case CL_FRAME_SYN:
    case CL_FRAME_SYN_ACK:
        // Only the version of another wire version is known to lie where it lies here.
        return payload_bytes >= CL_LINK_PARAMETERS_BYTES &&
               (payload[0] != CL_WIRE_VERSION || parameters_are_valid(payload));
    case CL_FRAME_DATA:
        return payload_bytes > 0;
    case CL_FRAME_ACK:
    case CL_FRAME_RESET:
    case CL_FRAME_PING:
        return payload_bytes == 0;
    default:
        return 0;
    }
}

static void take_connected(struct cl_link *link, const struct cl_frame_header *header,
                           uint32_t body_bytes, uint32_t now_ms)
{
    if (header->kind == CL_FRAME_SYN_ACK) {
        return; // a repeat
    }
    link->heard_ms = now_ms;
    if (header->kind == CL_FRAME_RESET) {
        cl_link_lose(link);
        return;
    }
    cl_send_window_acknowledge(&link->sending, header->ack, header->sack, header->credit, now_ms);
    if (header->kind == CL_FRAME_DATA) {
        link->ack_due = 1;
        cl_receive_window_take(&link->receiving, header->seq,
                               (uint16_t)(body_bytes - CL_LINK_HEADER_BYTES));
        link->decoder.body = buffer(link, link->receiving.filling);
    } else if (header->kind == CL_FRAME_PING) {
        link->ack_due = 1;
    }
}

static void take_body(struct cl_link *link, uint32_t body_bytes, uint32_t now_ms)
{
    const uint8_t *body = link->decoder.body;
    struct cl_frame_header header = {0};
    if (body_bytes >= CL_LINK_HEADER_BYTES) {
        header.kind = body[0];
        header.connection = cl_get_u16(body + 2);
        header.seq = cl_get_u16(body + 4);
        header.ack = cl_get_u16(body + 6);
        header.sack = cl_get_u16(body + 8);
        header.credit = cl_get_u16(body + 10);
    }
    if (!body_is_valid(&header, body + CL_LINK_HEADER_BYTES, body_bytes - CL_LINK_HEADER_BYTES)) {
        link->frames_malformed++;
        return;
    }
    link->frames_received++;
    int ours = link->state != CL_LINK_CLOSED && header.connection == link->connection;
    if (header.kind == CL_FRAME_SYN) {
        take_syn(link, &header, body + CL_LINK_HEADER_BYTES, now_ms);
    } else if (ours && link->state == CL_LINK_OPEN) {
        take_connected(link, &header, body_bytes, now_ms);
    } else if (ours && header.kind == CL_FRAME_SYN_ACK) {
        take_syn_ack(link, &header, body + CL_LINK_HEADER_BYTES, now_ms);
    } else if (!ours && header.kind != CL_FRAME_RESET) {
        link->reset_due = 1;
        link->reset_connection = header.connection;
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
        if (result > 0) {
            take_body(link, (uint32_t)result, now_ms);
        } else if (result < 0) {
            link->frames_malformed++;
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
    cl_send_window_push(&link->sending, token, CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + payload_max));
    return 0;
}

uint32_t cl_link_events(struct cl_link *link)
{
    uint32_t events = link->events;
    link->events = 0;
    return events;
}
