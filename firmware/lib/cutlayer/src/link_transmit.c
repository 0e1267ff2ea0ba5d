#include "link_state.h"

// Makes the frame to write next from the header and the payload that lies behind it already.
static void stage(struct cl_link *link, const struct cl_frame_header *header,
                  uint32_t payload_bytes)
{
    uint32_t capacity = CL_LINK_STAGE_BYTES(link->config.max_payload);
    uint8_t *body = link->stage +
                    CL_FRAME_CODE_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)link->config.max_payload);
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
    link->stage_seq = -1;
}

static uint8_t *stage_payload(struct cl_link *link)
{
    return link->stage + CL_LINK_HEADER_BYTES +
           CL_FRAME_CODE_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)link->config.max_payload);
}

static void stage_syn(struct cl_link *link)
{
    uint8_t *parameters = stage_payload(link);
    struct cl_frame_header header = {.kind = CL_FRAME_SYN, .credit = link->config.window_bytes};
    header.connection = link->connection;
    if (link->config.role == CL_LINK_BOARD) {
        header.kind = CL_FRAME_SYN_ACK;
        header.connection = link->syn_connection;
    }
    parameters[0] = CL_WIRE_VERSION;
    parameters[1] = 0;
    cl_put_u16(parameters + 2, link->config.max_payload);
    cl_put_u16(parameters + 4, link->config.window_bytes);
    cl_put_u16(parameters + 6, link->config.window_frames);
    stage(link, &header, CL_LINK_PARAMETERS_BYTES);
    link->syn_due = 0;
}

// A frame of the present connection; it says what has arrived, so nothing else has to.
static void stage_connected(struct cl_link *link, enum cl_frame_kind kind, uint16_t seq,
                            uint32_t payload_bytes)
{
    struct cl_frame_header header = {
        .kind = (uint8_t)kind,
        .connection = link->connection,
        .seq = seq,
        .ack = cl_receive_window_ack(&link->receiving),
        .sack = cl_receive_window_sack(&link->receiving),
        .credit = cl_link_credit(link),
    };
    link->credit_sent = header.credit;
    link->ack_due = 0;
    stage(link, &header, payload_bytes);
}

static void stage_data(struct cl_link *link, uint16_t seq, uint32_t now_ms)
{
    uint32_t capacity = cl_link_payload_max(link);
    int32_t bytes =
        link->config.encode(link->config.context, cl_send_window_token(&link->sending, seq),
                            stage_payload(link), capacity);
    if (bytes <= 0 || (uint32_t)bytes > capacity) {
        link->reset_due = 1;
        link->reset_connection = link->connection;
        cl_link_lose(link);
        return;
    }
    stage_connected(link, CL_FRAME_DATA, seq, (uint32_t)bytes);
    link->stage_seq = seq;
    if (cl_send_window_transmit(&link->sending, seq, link->stage_bytes, now_ms)) {
        link->data_resent++;
    }
}

static int waits(const struct cl_link *link)
{
    return link->state == CL_LINK_CONNECTING || cl_link_outstanding(link) > 0;
}

static uint32_t left_ms(uint32_t since_ms, uint32_t after_ms, uint32_t now_ms)
{
    uint32_t passed_ms = now_ms - since_ms;
    return passed_ms >= after_ms ? 0 : after_ms - passed_ms;
}

// Milliseconds until the next SYN or retransmission.
static uint32_t timer_ms(const struct cl_link *link, uint32_t now_ms)
{
    return link->state == CL_LINK_CONNECTING ? left_ms(link->syn_ms, CL_LINK_SYN_MS, now_ms)
                                             : cl_send_window_timeout_ms(&link->sending, now_ms);
}

static void run_timers(struct cl_link *link, uint32_t now_ms)
{
    if (!waits(link)) {
        link->idle = 1;
        return;
    }
    if (link->idle) {
        link->idle = 0;
        link->heard_ms = now_ms;
        link->sending.timer_ms = now_ms;
    }
    if (left_ms(link->heard_ms, link->config.dead_ms, now_ms) == 0) {
        cl_link_lose(link);
    } else if (timer_ms(link, now_ms) > 0) {
        return;
    } else if (link->state == CL_LINK_CONNECTING) {
        link->syn_due = 1;
        link->syn_ms = now_ms;
    } else if (link->stage_seq < 0 && cl_send_window_expire(&link->sending, now_ms)) {
        link->ping_due = 1;
    }
}

static void stage_open(struct cl_link *link, uint32_t now_ms)
{
    int32_t seq = cl_send_window_due(&link->sending);
    if (seq >= 0) {
        stage_data(link, (uint16_t)seq, now_ms);
    } else if (link->ping_due) {
        link->ping_due = 0;
        stage_connected(link, CL_FRAME_PING, link->sending.next, 0);
    } else if (link->ack_due) {
        stage_connected(link, CL_FRAME_ACK, link->sending.next, 0);
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
            struct cl_frame_header header = {.kind = CL_FRAME_RESET,
                                             .connection = link->reset_connection};
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
        if (link->stage_seq >= 0) {
            cl_send_window_written(&link->sending, (uint16_t)link->stage_seq, now_ms);
        }
        link->stage_seq = -1;
        link->stage_bytes = link->stage_written = 0;
    }
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
    uint32_t next_ms = timer_ms(link, now_ms);
    return dead_ms < next_ms ? dead_ms : next_ms;
}
