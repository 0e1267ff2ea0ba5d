#include "cutlayer/link.h"

#include "bytes.h"

enum kind { SYN = 1, SYN_ACK = 2, DATA = 3, ACK = 4, RESET = 5, PING = 6 };

#define PARAMETERS_BYTES 8u
#define SYN_MS 500u
#define RTO_FIRST_MS 500u
#define RTO_MIN_MS 50u
#define RTO_MAX_MS 4000u

struct header {
    uint8_t kind;
    uint16_t connection;
    uint16_t seq;
    uint16_t ack;
    uint16_t sack;
    uint16_t credit;
};

// Numbers wrap at 2^16: only their distance means anything.
static uint16_t distance(uint16_t from, uint16_t to)
{
    return (uint16_t)((uint32_t)to - from);
}

static struct cl_link_outgoing *outgoing(struct cl_link *link, uint16_t seq)
{
    return &link->outgoing[seq % CL_LINK_SEND_FRAMES];
}

static uint8_t *buffer(const struct cl_link *link, uint8_t index)
{
    return link->buffers + (uint32_t)index * CL_LINK_BODY_BYTES(link->config.max_payload);
}

int32_t cl_link_init(struct cl_link *link, const struct cl_link_config *config)
{
    uint32_t frame_bytes = CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)config->max_payload);
    uint32_t memory_bytes = CL_LINK_BYTES(config->max_payload, config->window_frames);
    if (config->max_payload < CL_LINK_PAYLOAD_MIN || config->max_payload > CL_LINK_PAYLOAD_MAX ||
        config->window_frames < 1 || config->window_frames > CL_LINK_FRAMES_MAX ||
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
    link->stage_slot = -1;
    cl_frame_decoder_init(&link->decoder, buffer(link, 0),
                          CL_LINK_BODY_BYTES(config->max_payload));
    link->decoder.capacity = CL_LINK_HEADER_BYTES + config->max_payload + CL_FRAME_CRC_BYTES;
    return (int32_t)memory_bytes;
}

// --- connection ---

static void forget(struct cl_link *link)
{
    link->send_base = link->send_next = link->send_end = 0;
    link->recv_next = 0;
    memset(link->held, 0, sizeof link->held);
    link->syn_due = link->ack_due = link->ping_due = 0;
    link->rto_ms = RTO_FIRST_MS;
    link->rtt_known = 0;
    link->credit_sent = link->config.window_bytes;
    link->stage_slot = -1;
    if (link->stage_written == 0) {
        link->stage_bytes = 0; // a frame half written goes out whole: the other side drops it
    }
}

static void lose(struct cl_link *link)
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
    link->timer_ms = link->heard_ms = now_ms;
    return 0;
}

void cl_link_interrupted(struct cl_link *link)
{
    cl_frame_decoder_init(&link->decoder, link->decoder.body, link->decoder.capacity);
    link->stage_bytes = link->stage_written = 0;
    link->stage_slot = -1;
}

static void open_connection(struct cl_link *link, const struct header *header, const uint8_t *parameters,
                 uint32_t now_ms)
{
    forget(link);
    link->state = CL_LINK_OPEN;
    link->connection = header->connection;
    link->peer_max_payload = cl_get_u16(parameters + 2);
    link->peer_credit = cl_get_u16(parameters + 4);
    link->peer_frames = cl_get_u16(parameters + 6);
    link->timer_ms = link->heard_ms = now_ms;
    link->events |= CL_LINK_OPENED;
}

static int parameters_are_valid(const uint8_t *parameters)
{
    uint16_t max_payload = cl_get_u16(parameters + 2);
    uint16_t window_frames = cl_get_u16(parameters + 6);
    return max_payload >= CL_LINK_PAYLOAD_MIN && max_payload <= CL_LINK_PAYLOAD_MAX &&
           cl_get_u16(parameters + 4) >=
               CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)max_payload) &&
           window_frames >= 1 && window_frames <= CL_LINK_FRAMES_MAX;
}

static void take_syn(struct cl_link *link, const struct header *header, const uint8_t *parameters,
                     uint32_t now_ms)
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

static void take_syn_ack(struct cl_link *link, const struct header *header,
                         const uint8_t *parameters, uint32_t now_ms)
{
    if (link->state != CL_LINK_CONNECTING) {
        return;
    }
    if (parameters[0] == CL_WIRE_VERSION) {
        open_connection(link, header, parameters, now_ms);
    } else {
        lose(link);
        link->events |= CL_LINK_REFUSED;
    }
}

// --- sending: what the other side says of our frames ---

// RFC 6298, section 2, in integers: SRTT in eighths and RTTVAR in quarters of a millisecond.
static void sample_rtt(struct cl_link *link, uint32_t rtt_ms)
{
    rtt_ms = rtt_ms > RTO_MAX_MS ? RTO_MAX_MS : rtt_ms;
    if (!link->rtt_known) {
        link->rtt_known = 1;
        link->srtt_8ms = 8 * rtt_ms;
        link->rttvar_4ms = 2 * rtt_ms;
    } else {
        uint32_t srtt_ms = link->srtt_8ms / 8;
        uint32_t error_ms = srtt_ms > rtt_ms ? srtt_ms - rtt_ms : rtt_ms - srtt_ms;
        link->rttvar_4ms += error_ms - link->rttvar_4ms / 4;
        link->srtt_8ms += rtt_ms - srtt_ms;
    }
    uint32_t rto_ms = link->srtt_8ms / 8 + (link->rttvar_4ms > 0 ? link->rttvar_4ms : 1);
    rto_ms = rto_ms < RTO_MIN_MS ? RTO_MIN_MS : rto_ms;
    link->rto_ms = rto_ms > RTO_MAX_MS ? RTO_MAX_MS : rto_ms;
}

// Marks frame `seq` as arrived and moves `newest` to its place among all transmissions, when it is later.
// Of a frame sent twice nobody knows which one arrived: the first is the safe guess.
static void arrived(struct cl_link *link, uint16_t seq, uint32_t now_ms, uint32_t *newest)
{
    struct cl_link_outgoing *frame = outgoing(link, seq);
    if (frame->arrived || frame->transmissions == 0) {
        return;
    }
    frame->arrived = 1;
    frame->lost = 0;
    if (frame->transmissions == 1) {
        sample_rtt(link, now_ms - frame->sent_ms);
    }
    if (frame->first_order > *newest) {
        *newest = frame->first_order;
    }
    link->timer_ms = now_ms;
}

static void take_ack(struct cl_link *link, const struct header *header, uint32_t now_ms)
{
    uint16_t sent = distance(link->send_base, link->send_next);
    uint16_t advance = distance(link->send_base, header->ack);
    uint32_t newest = 0;
    if (advance > sent) {
        return; // older than one seen, or never sent
    }
    for (uint16_t i = 0; i < advance; i++) {
        arrived(link, (uint16_t)(link->send_base + i), now_ms, &newest);
    }
    for (uint16_t i = 0; i < 16 && advance + 1 + i < sent; i++) {
        if (header->sack & (uint16_t)(1u << i)) {
            arrived(link, (uint16_t)(link->send_base + advance + 1 + i), now_ms, &newest);
        }
    }
    link->send_base = header->ack;
    link->peer_credit = header->credit;
    for (uint16_t seq = link->send_base; seq != link->send_next; seq++) {
        struct cl_link_outgoing *frame = outgoing(link, seq);
        if (!frame->arrived && frame->order < newest) {
            frame->lost = 1;
        }
    }
}

// --- receiving ---

// Frames from recv_next on that have arrived without a gap.
static uint16_t in_order(const struct cl_link *link)
{
    uint16_t count = 0;
    while (count < link->config.window_frames && link->held[count] != 0) {
        count++;
    }
    return count;
}

// A buffer that neither holds a message nor is being filled; there is one more than messages can be held.
static uint8_t free_buffer(const struct cl_link *link)
{
    for (uint8_t index = 0; index <= link->config.window_frames; index++) {
        uint8_t is_free = index != link->filling;
        for (uint16_t i = 0; i < link->config.window_frames; i++) {
            is_free = is_free && link->held[i] != index + 1;
        }
        if (is_free) {
            return index;
        }
    }
    return link->filling;
}

static void take_data(struct cl_link *link, const struct header *header, uint32_t body_bytes)
{
    uint16_t place = distance(link->recv_next, header->seq);
    link->ack_due = 1;
    if (place >= link->config.window_frames || link->held[place] != 0) {
        return; // a repeat, or more than was allowed
    }
    link->held[place] = (uint8_t)(link->filling + 1);
    link->held_bytes[place] = (uint16_t)(body_bytes - CL_LINK_HEADER_BYTES);
    link->filling = free_buffer(link);
    link->decoder.body = buffer(link, link->filling);
}

// Returns 0 for a body that its kind does not allow.
static int body_is_valid(const struct header *header, const uint8_t *payload,
                         uint32_t payload_bytes)
{
    if (header->connection == 0) {
        return 0;
    }
    switch (header->kind) {
    case SYN:
    case SYN_ACK:
        // Only the version of another wire version is known to lie where it lies here.
        return payload_bytes >= PARAMETERS_BYTES &&
               (payload[0] != CL_WIRE_VERSION || parameters_are_valid(payload));
    case DATA:
        return payload_bytes > 0;
    case ACK:
    case RESET:
    case PING:
        return payload_bytes == 0;
    default:
        return 0;
    }
}

static void take_connected(struct cl_link *link, const struct header *header, uint32_t body_bytes,
                           uint32_t now_ms)
{
    if (header->kind == SYN_ACK) {
        return; // a repeat
    }
    link->heard_ms = now_ms;
    if (header->kind == RESET) {
        lose(link);
        return;
    }
    take_ack(link, header, now_ms);
    if (header->kind == DATA) {
        take_data(link, header, body_bytes);
    } else if (header->kind == PING) {
        link->ack_due = 1;
    }
}

static void take_body(struct cl_link *link, uint32_t body_bytes, uint32_t now_ms)
{
    const uint8_t *body = link->decoder.body;
    struct header header = {0};
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
    if (header.kind == SYN) {
        take_syn(link, &header, body + CL_LINK_HEADER_BYTES, now_ms);
    } else if (ours && link->state == CL_LINK_OPEN) {
        take_connected(link, &header, body_bytes, now_ms);
    } else if (ours && header.kind == SYN_ACK) {
        take_syn_ack(link, &header, body + CL_LINK_HEADER_BYTES, now_ms);
    } else if (!ours && header.kind != RESET) {
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
    if (link->held[0] == 0) {
        return 0;
    }
    *payload = buffer(link, (uint8_t)(link->held[0] - 1)) + CL_LINK_HEADER_BYTES;
    return link->held_bytes[0];
}

// Bytes that the other side may send now: all or nothing, because every message held takes a whole buffer.
static uint16_t credit(const struct cl_link *link)
{
    return in_order(link) > 0 ? 0 : link->config.window_bytes;
}

void cl_link_release(struct cl_link *link)
{
    if (link->held[0] == 0) {
        return;
    }
    for (uint16_t i = 1; i < link->config.window_frames; i++) {
        link->held[i - 1] = link->held[i];
        link->held_bytes[i - 1] = link->held_bytes[i];
    }
    link->held[link->config.window_frames - 1] = 0;
    link->recv_next++;
    if (link->credit_sent == 0 && credit(link) > 0) {
        link->ack_due = 1;
    }
}

// --- sending ---

uint32_t cl_link_room(const struct cl_link *link)
{
    if (link->state != CL_LINK_OPEN) {
        return 0;
    }
    return CL_LINK_SEND_FRAMES - distance(link->send_base, link->send_end);
}

uint32_t cl_link_outstanding(const struct cl_link *link)
{
    return distance(link->send_base, link->send_end);
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
    struct cl_link_outgoing *frame = outgoing(link, link->send_end);
    memset(frame, 0, sizeof *frame);
    frame->token = *token;
    frame->frame_bytes = (uint16_t)CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + payload_max);
    link->send_end++;
    return 0;
}

// Makes the frame to write next from the header and the payload that lies behind it already.
static void stage(struct cl_link *link, const struct header *header, uint32_t payload_bytes)
{
    uint32_t capacity = CL_LINK_STAGE_BYTES(link->config.max_payload);
    uint8_t *body = link->stage + CL_FRAME_CODE_BYTES(CL_LINK_HEADER_BYTES +
                                                      (uint32_t)link->config.max_payload);
    body[0] = header->kind;
    body[1] = 0;
    cl_put_u16(body + 2, header->connection);
    cl_put_u16(body + 4, header->seq);
    cl_put_u16(body + 6, header->ack);
    cl_put_u16(body + 8, header->sack);
    cl_put_u16(body + 10, header->credit);
    int32_t result =
        cl_frame_encode(link->stage, capacity, body, CL_LINK_HEADER_BYTES + payload_bytes);
    link->stage_bytes = result > 0 ? (uint32_t)result : 0;
    link->stage_written = 0;
    link->stage_slot = -1;
}

static uint8_t *stage_payload(struct cl_link *link)
{
    return link->stage + CL_LINK_HEADER_BYTES +
           CL_FRAME_CODE_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)link->config.max_payload);
}

static void stage_syn(struct cl_link *link)
{
    uint8_t *parameters = stage_payload(link);
    struct header header = {.kind = SYN, .credit = link->config.window_bytes};
    header.connection = link->connection;
    if (link->config.role == CL_LINK_BOARD) {
        header.kind = SYN_ACK;
        header.connection = link->syn_connection;
    }
    parameters[0] = CL_WIRE_VERSION;
    parameters[1] = 0;
    cl_put_u16(parameters + 2, link->config.max_payload);
    cl_put_u16(parameters + 4, link->config.window_bytes);
    cl_put_u16(parameters + 6, link->config.window_frames);
    stage(link, &header, PARAMETERS_BYTES);
    link->syn_due = 0;
}

// A frame of the present connection; it says what has arrived, so nothing else has to.
static void stage_connected(struct cl_link *link, enum kind kind, uint16_t seq,
                            uint32_t payload_bytes)
{
    uint16_t arrived_in_order = in_order(link);
    struct header header = {.kind = (uint8_t)kind, .connection = link->connection, .seq = seq};
    header.ack = (uint16_t)(link->recv_next + arrived_in_order);
    for (uint16_t i = (uint16_t)(arrived_in_order + 1); i < link->config.window_frames; i++) {
        if (link->held[i] != 0) {
            header.sack |= (uint16_t)(1u << (i - arrived_in_order - 1));
        }
    }
    header.credit = credit(link);
    link->credit_sent = header.credit;
    link->ack_due = 0;
    stage(link, &header, payload_bytes);
}

static void stage_data(struct cl_link *link, uint16_t seq, uint32_t now_ms)
{
    struct cl_link_outgoing *frame = outgoing(link, seq);
    uint32_t capacity = cl_link_payload_max(link);
    int32_t bytes =
        link->config.encode(link->config.context, &frame->token, stage_payload(link), capacity);
    if (bytes <= 0 || (uint32_t)bytes > capacity) {
        link->reset_due = 1;
        link->reset_connection = link->connection;
        lose(link);
        return;
    }
    if (seq == link->send_next) {
        link->send_next++;
    }
    stage_connected(link, DATA, seq, (uint32_t)bytes);
    link->stage_slot = seq % CL_LINK_SEND_FRAMES;
    frame->frame_bytes = (uint16_t)link->stage_bytes;
    frame->order = ++link->order;
    if (frame->transmissions == 0) {
        frame->first_order = frame->order;
    } else {
        link->data_resent++;
    }
    if (frame->transmissions < UINT8_MAX) {
        frame->transmissions++;
    }
    frame->lost = 0;
    frame->sent_ms = link->timer_ms = now_ms;
}

// Bytes of DATA that may still lie in the other side's buffer; `oldest` is the first such frame.
static uint32_t on_the_way(const struct cl_link *link, uint16_t *oldest)
{
    uint32_t bytes = 0;
    for (uint16_t seq = link->send_next; seq != link->send_base;) {
        const struct cl_link_outgoing *frame = &link->outgoing[--seq % CL_LINK_SEND_FRAMES];
        if (!frame->arrived) {
            bytes += frame->frame_bytes;
            *oldest = seq;
        }
    }
    return bytes;
}

static int may_send_new(const struct cl_link *link)
{
    uint16_t oldest;
    uint32_t bytes = on_the_way(link, &oldest);
    return link->send_next != link->send_end &&
           distance(link->send_base, link->send_next) < link->peer_frames &&
           bytes + link->outgoing[link->send_next % CL_LINK_SEND_FRAMES].frame_bytes <=
               link->peer_credit;
}

static int waits(const struct cl_link *link)
{
    return link->state == CL_LINK_CONNECTING || cl_link_outstanding(link) > 0;
}

static void run_timers(struct cl_link *link, uint32_t now_ms)
{
    uint16_t oldest;
    if (!waits(link)) {
        link->idle = 1;
    } else if (link->idle) {
        link->idle = 0;
        link->heard_ms = link->timer_ms = now_ms;
    } else if (now_ms - link->heard_ms >= link->config.dead_ms) {
        lose(link);
    } else if (link->state == CL_LINK_CONNECTING) {
        if (now_ms - link->timer_ms >= SYN_MS) {
            link->syn_due = 1;
            link->timer_ms = now_ms;
        }
    } else if (now_ms - link->timer_ms >= link->rto_ms && link->stage_slot < 0) {
        if (on_the_way(link, &oldest) > 0) {
            outgoing(link, oldest)->lost = 1;
            link->rto_ms = 2 * link->rto_ms > RTO_MAX_MS ? RTO_MAX_MS : 2 * link->rto_ms;
        } else if (!may_send_new(link)) {
            link->ping_due = 1;
        }
        link->timer_ms = now_ms;
    }
}

static void stage_open(struct cl_link *link, uint32_t now_ms)
{
    for (uint16_t seq = link->send_base; seq != link->send_next; seq++) {
        if (outgoing(link, seq)->lost) {
            stage_data(link, seq, now_ms);
            return;
        }
    }
    if (may_send_new(link)) {
        stage_data(link, link->send_next, now_ms);
    } else if (link->ping_due) {
        link->ping_due = 0;
        stage_connected(link, PING, link->send_next, 0);
    } else if (link->ack_due) {
        stage_connected(link, ACK, link->send_next, 0);
    }
}

uint32_t cl_link_transmit(struct cl_link *link, uint32_t now_ms, const uint8_t **data)
{
    run_timers(link, now_ms);
    if (link->stage_bytes == 0) {
        if (link->zero_due) {
            link->zero_due = 0;
            link->stage[0] = 0;
            link->stage_bytes = 1;
        } else if (link->syn_due) {
            stage_syn(link);
        } else if (link->state == CL_LINK_OPEN) {
            stage_open(link, now_ms);
        }
        if (link->stage_bytes == 0 && link->reset_due) {
            struct header header = {.kind = RESET, .connection = link->reset_connection};
            link->reset_due = 0;
            stage(link, &header, 0);
        }
    }
    *data = link->stage + link->stage_written;
    return link->stage_bytes - link->stage_written;
}

void cl_link_written(struct cl_link *link, uint32_t count, uint32_t now_ms)
{
    link->stage_written += count;
    link->bytes_sent += count;
    if (link->stage_written >= link->stage_bytes) {
        // The round trip starts when the last byte has left.
        if (link->stage_slot >= 0) {
            link->outgoing[link->stage_slot].sent_ms = link->timer_ms = now_ms;
        }
        link->stage_slot = -1;
        link->stage_bytes = link->stage_written = 0;
    }
}

uint32_t cl_link_events(struct cl_link *link)
{
    uint32_t events = link->events;
    link->events = 0;
    return events;
}

static uint32_t left_ms(uint32_t since_ms, uint32_t after_ms, uint32_t now_ms)
{
    uint32_t passed_ms = now_ms - since_ms;
    return passed_ms >= after_ms ? 0 : after_ms - passed_ms;
}

uint32_t cl_link_timeout_ms(const struct cl_link *link, uint32_t now_ms)
{
    if (link->stage_bytes > 0 || link->zero_due || link->syn_due || link->reset_due ||
        link->ack_due || link->ping_due) {
        return 0;
    }
    if (!waits(link)) {
        return UINT32_MAX;
    }
    uint32_t dead_ms = left_ms(link->heard_ms, link->config.dead_ms, now_ms);
    uint32_t timer_ms = left_ms(
        link->timer_ms, link->state == CL_LINK_OPEN ? link->rto_ms : SYN_MS, now_ms);
    return dead_ms < timer_ms ? dead_ms : timer_ms;
}
