#include "link_state.h"

// Starts the body to send next; its payload lies behind the header already, or is to be written.
static uint8_t *start_body(struct cl_link *link, enum cl_frame_kind kind, uint16_t connection)
{
    uint8_t *body = link->stage_body;
    memset(body, 0, CL_LINK_HEADER_BYTES);
    body[0] = (uint8_t)kind;
    cl_put_u16(body + CL_LINK_CONNECTION, connection);
    return body;
}

// Makes the frame of a body of `bytes`; none when there are none.
static void stage(struct cl_link *link, int32_t bytes)
{
    if (bytes > 0) {
        bytes =
            cl_frame_encode(link->stage, link->stage_capacity, link->stage_body, (uint32_t)bytes);
    }
    link->stage_bytes = bytes > 0 ? (uint32_t)bytes : 0;
    link->stage_written = 0;
    link->stage_seq = -1;
}

static void stage_syn(struct cl_link *link)
{
    const struct cl_guard *guard = link->config.guard;
    int is_board = link->config.role == CL_LINK_BOARD;
    uint16_t connection = is_board ? link->syn_connection : link->connection;
    uint8_t *body = start_body(link, is_board ? CL_FRAME_SYN_ACK : CL_FRAME_SYN, connection);
    uint8_t *parameters = body + CL_LINK_HEADER_BYTES;
    uint32_t bytes = CL_GUARD_PARAMETERS_BYTES;
    cl_put_u16(body + CL_LINK_CREDIT, link->config.window_bytes);
    parameters[0] = CL_WIRE_VERSION;
    parameters[1] = CL_SECURITY_PLAIN;
    cl_put_u16(parameters + 2, link->config.max_payload);
    cl_put_u16(parameters + 4, link->config.window_bytes);
    cl_put_u16(parameters + 6, link->config.window_frames);
    if (guard) {
        bytes = guard->introduce(guard->context, connection, parameters);
    }
    stage(link, (int32_t)(CL_LINK_HEADER_BYTES + bytes));
    link->syn_due = 0;
}

// A frame of the present connection; it says what has arrived, so nothing else has to. Returns 0
// when no seal is left for it: the connection is gone.
static int stage_connected(struct cl_link *link, enum cl_frame_kind kind, uint16_t seq,
                           uint32_t payload_bytes)
{
    const struct cl_guard *guard = link->config.guard;
    uint8_t *body = start_body(link, kind, link->connection);
    int32_t bytes = (int32_t)(CL_LINK_HEADER_BYTES + payload_bytes);
    link->credit_sent = cl_link_credit(link);
    link->ack_due = 0;
    cl_put_u16(body + CL_LINK_SEQ, seq);
    cl_put_u16(body + CL_LINK_ACK, cl_receive_window_ack(&link->receiving));
    cl_put_u16(body + CL_LINK_SACK, cl_receive_window_sack(&link->receiving));
    cl_put_u16(body + CL_LINK_CREDIT, link->credit_sent);
    if (link->seal_bytes) {
        bytes = guard->seal(guard->context, body, (uint32_t)bytes);
    }
    stage(link, bytes);
    if (bytes < 0) {
        cl_link_lose(link);
    }
    return bytes > 0;
}

static void stage_data(struct cl_link *link, uint16_t seq, uint32_t now_ms)
{
    uint32_t capacity = cl_link_payload_max(link);
    int32_t bytes =
        link->config.encode(link->config.context, cl_send_window_token(&link->sending, seq),
                            link->stage_body + CL_LINK_HEADER_BYTES, capacity);
    if (bytes <= 0 || (uint32_t)bytes > capacity) {
        link->reset_due = 1;
        link->reset_connection = link->connection;
        cl_link_lose(link);
    } else if (stage_connected(link, CL_FRAME_DATA, seq, (uint32_t)bytes)) {
        link->stage_seq = seq;
        if (cl_send_window_transmit(&link->sending, seq, link->stage_bytes, now_ms)) {
            link->data_resent++;
        }
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
    } else if (cl_send_window_timeout_ms(&link->sending, now_ms) > 0) {
        return;
    } else if (link->state == CL_LINK_CONNECTING) {
        link->syn_due = 1;
        link->sending.timer_ms = now_ms;
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
        (void)stage_connected(link, CL_FRAME_PING, link->sending.next, 0);
    } else if (link->ack_due) {
        (void)stage_connected(link, CL_FRAME_ACK, link->sending.next, 0);
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
            link->reset_due = 0;
            (void)start_body(link, CL_FRAME_RESET, link->reset_connection);
            stage(link, CL_LINK_HEADER_BYTES);
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
    uint32_t next_ms = cl_send_window_timeout_ms(&link->sending, now_ms);
    return dead_ms < next_ms ? dead_ms : next_ms;
}
