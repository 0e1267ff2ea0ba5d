// The two windows of a link: what was sent and may have to be sent again, and what came out of
// order (SPEC.md, section 2). They count and place; bytes and payloads are the link's.
#ifndef CUTLAYER_WINDOW_H
#define CUTLAYER_WINDOW_H

#include "cutlayer/error.h"

#define CL_WINDOW_FRAMES_MAX 17u // of a receiver
#define CL_WINDOW_SEND_FRAMES 8u // messages that may wait in the sender; divides 2^16

// Names a message; what is in it is the owner's own affair.
struct cl_link_token {
    uint32_t kind;
    uint32_t first;
    uint32_t count;
};

struct cl_outgoing {
    struct cl_link_token token;
    uint32_t order;       // of its last transmission among all transmissions
    uint32_t first_order; // of its first one
    uint32_t sent_ms;
    uint16_t frame_bytes; // as sent last; before that, at most
    uint8_t transmissions;
    uint8_t arrived;
    uint8_t lost;
};

// Frames [base, next) have been sent, [next, end) wait. Numbers wrap at 2^16.
struct cl_send_window {
    struct cl_outgoing outgoing[CL_WINDOW_SEND_FRAMES]; // by number modulo its length
    uint16_t base;
    uint16_t next;
    uint16_t end;
    uint16_t peer_frames;
    uint16_t peer_credit;
    uint32_t order;
    uint32_t timer_ms; // when the retransmission timer was started
    uint32_t rto_ms;
    uint32_t srtt_8ms;   // eighths of a ms
    uint32_t rttvar_4ms; // quarters of a ms
    uint8_t rtt_known;
};

// An empty window towards a receiver that takes `peer_frames` frames and `peer_credit` bytes.
void cl_send_window_open(struct cl_send_window *window, uint16_t peer_frames, uint16_t peer_credit,
                         uint32_t now_ms);

// Messages that may be pushed now; messages pushed and not yet known to have arrived.
uint32_t cl_send_window_room(const struct cl_send_window *window);
uint32_t cl_send_window_outstanding(const struct cl_send_window *window);

// Queues a message whose frame has at most `frame_bytes`. There is room.
void cl_send_window_push(struct cl_send_window *window, const struct cl_link_token *token,
                         uint32_t frame_bytes);

// Takes what the other side says has arrived, and its credit.
void cl_send_window_acknowledge(struct cl_send_window *window, uint16_t ack, uint16_t sack,
                                uint16_t credit, uint32_t now_ms);

// The number of the frame to transmit next: a lost one, else a new one that the other side has room
// for. -1 for none.
int32_t cl_send_window_due(const struct cl_send_window *window);

// The message of frame `seq`.
const struct cl_link_token *cl_send_window_token(const struct cl_send_window *window, uint16_t seq);

// Frame `seq` goes out with `frame_bytes`. Returns 1 when it is not its first time.
int32_t cl_send_window_transmit(struct cl_send_window *window, uint16_t seq, uint32_t frame_bytes,
                                uint32_t now_ms);

// The last byte of frame `seq` has been written: its round trip starts now.
void cl_send_window_written(struct cl_send_window *window, uint16_t seq, uint32_t now_ms);

// Milliseconds until cl_send_window_expire has something to do, 0 for now. Something is
// outstanding.
uint32_t cl_send_window_timeout_ms(const struct cl_send_window *window, uint32_t now_ms);

// The timer has run out: takes the oldest frame on its way for lost. Returns 1 when there is none
// and credit is missing: then the other side has to be asked for it.
int32_t cl_send_window_expire(struct cl_send_window *window, uint32_t now_ms);

// Frame `next` + i lies in buffer held[i] - 1; 0 when it has not come. There is one buffer more
// than frames can be held: the one that is being filled.
struct cl_receive_window {
    uint16_t frames; // that can be held, 1 to CL_WINDOW_FRAMES_MAX
    uint16_t next;   // to be delivered
    uint8_t filling;
    uint8_t held[CL_WINDOW_FRAMES_MAX];
    uint16_t bytes[CL_WINDOW_FRAMES_MAX];
};

void cl_receive_window_open(struct cl_receive_window *window);

// Frames from `next` on that have arrived without a gap.
uint16_t cl_receive_window_in_order(const struct cl_receive_window *window);

// The `ack` and `sack` of a frame's header.
uint16_t cl_receive_window_ack(const struct cl_receive_window *window);
uint16_t cl_receive_window_sack(const struct cl_receive_window *window);

// Frame `seq` lies in the buffer that was being filled. Keeps it and fills another one, unless it
// is a repeat or out of the window.
void cl_receive_window_take(struct cl_receive_window *window, uint16_t seq, uint16_t bytes);

// The buffer of the next frame in order, or -1.
int32_t cl_receive_window_front(const struct cl_receive_window *window);

// Is done with the next frame in order.
void cl_receive_window_release(struct cl_receive_window *window);

#endif
