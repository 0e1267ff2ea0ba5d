#include "cutlayer/window.h"

#include <string.h>

#define RTO_FIRST_MS 500u
#define RTO_MIN_MS 50u
#define RTO_MAX_MS 1000u

static uint16_t distance(uint16_t from, uint16_t to)
{
    return (uint16_t)((uint32_t)to - from);
}

static struct cl_outgoing *outgoing(struct cl_send_window *window, uint16_t seq)
{
    return &window->outgoing[seq % CL_WINDOW_SEND_FRAMES];
}

// --- sending ---

void cl_send_window_open(struct cl_send_window *window, uint16_t peer_frames, uint16_t peer_credit,
                         uint32_t now_ms)
{
    memset(window, 0, sizeof *window);
    window->peer_frames = peer_frames;
    window->peer_credit = peer_credit;
    window->timer_ms = now_ms;
    window->rto_ms = RTO_FIRST_MS;
}

uint32_t cl_send_window_outstanding(const struct cl_send_window *window)
{
    return distance(window->base, window->end);
}

uint32_t cl_send_window_room(const struct cl_send_window *window)
{
    return CL_WINDOW_SEND_FRAMES - cl_send_window_outstanding(window);
}

void cl_send_window_push(struct cl_send_window *window, const struct cl_link_token *token,
                         uint32_t frame_bytes)
{
    struct cl_outgoing *frame = outgoing(window, window->end++);
    memset(frame, 0, sizeof *frame);
    frame->token = *token;
    frame->frame_bytes = (uint16_t)frame_bytes;
}

// RFC 6298, section 2, in integers.
static void sample_rtt(struct cl_send_window *window, uint32_t rtt_ms)
{
    rtt_ms = rtt_ms > RTO_MAX_MS ? RTO_MAX_MS : rtt_ms;
    if (!window->rtt_known) {
        window->rtt_known = 1;
        window->srtt_8ms = 8 * rtt_ms;
        window->rttvar_4ms = 2 * rtt_ms;
    } else {
        uint32_t srtt_ms = window->srtt_8ms / 8;
        uint32_t error_ms = srtt_ms > rtt_ms ? srtt_ms - rtt_ms : rtt_ms - srtt_ms;
        window->rttvar_4ms += error_ms - window->rttvar_4ms / 4;
        window->srtt_8ms += rtt_ms - srtt_ms;
    }
    uint32_t rto_ms = window->srtt_8ms / 8 + (window->rttvar_4ms > 0 ? window->rttvar_4ms : 1);
    rto_ms = rto_ms < RTO_MIN_MS ? RTO_MIN_MS : rto_ms;
    window->rto_ms = rto_ms > RTO_MAX_MS ? RTO_MAX_MS : rto_ms;
}

// Marks frame `seq` as arrived. Returns its place among all transmissions, 0 when that is no news.
// Of a frame sent twice nobody knows which one arrived: the first is the safe guess.
static uint32_t arrive(struct cl_send_window *window, uint16_t seq, uint32_t now_ms)
{
    struct cl_outgoing *frame = outgoing(window, seq);
    if (frame->arrived) {
        return 0;
    }
    frame->arrived = 1;
    frame->lost = 0;
    if (frame->transmissions == 1) {
        sample_rtt(window, now_ms - frame->sent_ms);
    }
    window->timer_ms = now_ms;
    return frame->first_order;
}

void cl_send_window_acknowledge(struct cl_send_window *window, uint16_t ack, uint16_t sack,
                                uint16_t credit, uint32_t now_ms)
{
    uint16_t sent = distance(window->base, window->next);
    uint16_t advance = distance(window->base, ack);
    uint32_t newest = 0;
    if (advance > sent) {
        return; // older than one seen, or never sent
    }
    for (uint16_t i = 0; i < sent; i++) {
        int says =
            i < advance || (i > advance && i - advance <= 16 && (sack >> (i - advance - 1) & 1u));
        uint32_t order = says ? arrive(window, (uint16_t)(window->base + i), now_ms) : 0;
        newest = order > newest ? order : newest;
    }
    window->base = ack;
    window->peer_credit = credit;
    for (uint16_t seq = window->base; seq != window->next; seq++) {
        struct cl_outgoing *frame = outgoing(window, seq);
        frame->lost = (uint8_t)(frame->lost || (!frame->arrived && frame->order < newest));
    }
}

// Bytes that may still lie in the other side's buffer; `oldest` is the first such frame.
static uint32_t on_the_way(const struct cl_send_window *window, uint16_t *oldest)
{
    uint32_t bytes = 0;
    for (uint16_t seq = window->next; seq != window->base;) {
        const struct cl_outgoing *frame = &window->outgoing[--seq % CL_WINDOW_SEND_FRAMES];
        if (!frame->arrived) {
            bytes += frame->frame_bytes;
            *oldest = seq;
        }
    }
    return bytes;
}

int32_t cl_send_window_due(const struct cl_send_window *window)
{
    uint16_t oldest;
    for (uint16_t seq = window->base; seq != window->next; seq++) {
        if (window->outgoing[seq % CL_WINDOW_SEND_FRAMES].lost) {
            return seq;
        }
    }
    const struct cl_outgoing *new = &window->outgoing[window->next % CL_WINDOW_SEND_FRAMES];
    int may_send = window->next != window->end &&
                   distance(window->base, window->next) < window->peer_frames &&
                   on_the_way(window, &oldest) + new->frame_bytes <= window->peer_credit;
    return may_send ? (int32_t)window->next : -1;
}

const struct cl_link_token *cl_send_window_token(const struct cl_send_window *window, uint16_t seq)
{
    return &window->outgoing[seq % CL_WINDOW_SEND_FRAMES].token;
}

int32_t cl_send_window_transmit(struct cl_send_window *window, uint16_t seq, uint32_t frame_bytes,
                                uint32_t now_ms)
{
    struct cl_outgoing *frame = outgoing(window, seq);
    if (seq == window->next) {
        window->next++;
    }
    frame->lost = 0;
    frame->frame_bytes = (uint16_t)frame_bytes;
    frame->order = ++window->order;
    cl_send_window_written(window, seq, now_ms);
    if (frame->transmissions++ == 0) {
        frame->first_order = frame->order;
        return 0;
    }
    frame->transmissions = 2; // that it was more than one is all that counts
    return 1;
}

void cl_send_window_written(struct cl_send_window *window, uint16_t seq, uint32_t now_ms)
{
    outgoing(window, seq)->sent_ms = now_ms;
    window->timer_ms = now_ms;
}

uint32_t cl_send_window_timeout_ms(const struct cl_send_window *window, uint32_t now_ms)
{
    uint32_t passed_ms = now_ms - window->timer_ms;
    return passed_ms >= window->rto_ms ? 0 : window->rto_ms - passed_ms;
}

int32_t cl_send_window_expire(struct cl_send_window *window, uint32_t now_ms)
{
    uint16_t oldest;
    window->timer_ms = now_ms;
    if (on_the_way(window, &oldest) == 0) {
        return cl_send_window_due(window) < 0;
    }
    outgoing(window, oldest)->lost = 1;
    window->rto_ms = 2 * window->rto_ms > RTO_MAX_MS ? RTO_MAX_MS : 2 * window->rto_ms;
    return 0;
}

// --- receiving ---

void cl_receive_window_open(struct cl_receive_window *window)
{
    window->next = 0;
    memset(window->held, 0, sizeof window->held);
}

uint16_t cl_receive_window_in_order(const struct cl_receive_window *window)
{
    uint16_t count = 0;
    while (count < window->frames && window->held[count] != 0) {
        count++;
    }
    return count;
}

uint16_t cl_receive_window_ack(const struct cl_receive_window *window)
{
    return (uint16_t)(window->next + cl_receive_window_in_order(window));
}

uint16_t cl_receive_window_sack(const struct cl_receive_window *window)
{
    uint16_t first = (uint16_t)(cl_receive_window_in_order(window) + 1);
    uint16_t sack = 0;
    for (uint16_t i = first; i < window->frames; i++) {
        if (window->held[i] != 0) {
            sack |= (uint16_t)(1u << (i - first));
        }
    }
    return sack;
}

static int is_free(const struct cl_receive_window *window, uint8_t index)
{
    for (uint16_t i = 0; i < window->frames; i++) {
        if (window->held[i] == index + 1) {
            return 0;
        }
    }
    return 1;
}

void cl_receive_window_take(struct cl_receive_window *window, uint16_t seq, uint16_t bytes)
{
    uint16_t place = distance(window->next, seq);
    if (place >= window->frames || window->held[place] != 0) {
        return;
    }
    window->held[place] = (uint8_t)(window->filling + 1);
    window->bytes[place] = bytes;
    window->filling = 0;
    while (!is_free(window, window->filling)) {
        window->filling++;
    }
}

int32_t cl_receive_window_front(const struct cl_receive_window *window)
{
    return window->held[0] - 1;
}

void cl_receive_window_release(struct cl_receive_window *window)
{
    for (uint16_t i = 1; i < window->frames; i++) {
        window->held[i - 1] = window->held[i];
        window->bytes[i - 1] = window->bytes[i];
    }
    window->held[window->frames - 1] = 0;
    window->next++;
}
