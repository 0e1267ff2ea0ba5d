// The link: whole messages, in order and once, over a pipe that loses and mangles bytes (SPEC.md,
// section 2). It knows no I/O and no clock: bytes and the time go in, bytes and messages come out.
//
// What was sent is not kept: a message waits as a token, and the owner writes its payload again
// whenever it goes out. All memory is the caller's.
#ifndef CUTLAYER_LINK_H
#define CUTLAYER_LINK_H

#include "cutlayer/frame.h"
#include "cutlayer/guard.h"
#include "cutlayer/window.h"

#define CL_WIRE_VERSION 2u
#define CL_LINK_HEADER_BYTES 12u
#define CL_LINK_PAYLOAD_MIN 128u
#define CL_LINK_PAYLOAD_MAX 4096u
#define CL_LINK_DEAD_MS 10000u

// A frame without payload: what an ACK takes of the receiver's buffer.
#define CL_LINK_CONTROL_BYTES CL_FRAME_BYTES(CL_LINK_HEADER_BYTES)

// Bytes of one receive buffer, of the frame being written, and of all the memory that cl_link_init
// needs. With a guard, `max_payload` is CL_GUARD_FRAME_BYTES more than the link's.
#define CL_LINK_BODY_BYTES(max_payload)                                                            \
    ((CL_LINK_HEADER_BYTES + (uint32_t)(max_payload) + CL_FRAME_CRC_BYTES + 3u) & ~(uint32_t)3u)
#define CL_LINK_STAGE_BYTES(max_payload)                                                           \
    ((CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + (uint32_t)(max_payload)) + 3u) & ~(uint32_t)3u)
#define CL_LINK_BYTES(max_payload, window_frames)                                                  \
    (CL_LINK_BODY_BYTES(max_payload) * ((uint32_t)(window_frames) + 1u) +                          \
     CL_LINK_STAGE_BYTES(max_payload))

enum cl_link_role { CL_LINK_BOARD = 0, CL_LINK_HOST = 1 };

enum cl_link_state { CL_LINK_CLOSED = 0, CL_LINK_CONNECTING = 1, CL_LINK_OPEN = 2 };

enum cl_link_event {
    CL_LINK_OPENED = 1,  // a new connection: all that was under way is gone
    CL_LINK_LOST = 2,    // the connection ended
    CL_LINK_REFUSED = 4, // host: the board speaks another wire version
};

struct cl_link_config {
    enum cl_link_role role;
    uint16_t max_payload;   // longest payload taken, 128 to 4096; no longer one is sent either
    uint16_t window_frames; // 1 to 17
    uint16_t window_bytes;  // bytes of frames that the receive buffer below holds; at least one
                            // longest frame, sealed where there is a guard
    uint32_t dead_ms;       // silence that ends a connection; 0: 10 s
    const struct cl_guard *guard; // null: every connection is plain

    // Writes the payload of `token`. Called at each transmission, so it has to give a message that
    // is right at that time. Returns its bytes, 1 to `capacity`; anything else ends the connection.
    int32_t (*encode)(void *context, const struct cl_link_token *token, uint8_t *payload,
                      uint32_t capacity);
    void *context;
    void *memory; // aligned to 4
    uint32_t memory_bytes;
};

struct cl_link {
    struct cl_link_config config;
    // Host: set by cl_link_connect, so that a board's build leaves it out.
    void (*take_syn_ack)(struct cl_link *link, const uint8_t *body, uint32_t bytes,
                         uint32_t now_ms);
    enum cl_link_state state;
    uint16_t connection;
    uint8_t events; // set of cl_link_event not yet asked for
    uint8_t zero_due;
    uint8_t syn_due;
    uint8_t ack_due;
    uint8_t ping_due;
    uint8_t reset_due;
    uint8_t idle;            // 1 when nothing was waited for
    uint8_t seal_bytes;      // of each frame of this connection; 0 where it is plain
    uint16_t syn_connection; // that SYN_ACK answers
    uint16_t reset_connection;

    struct cl_send_window sending;
    struct cl_receive_window receiving;
    uint16_t peer_max_payload;
    uint16_t credit_sent;
    uint32_t heard_ms; // when something valid came, or waiting began

    // The frame being written.
    uint8_t *stage;
    uint8_t *stage_body; // where its body lies until it is encoded
    uint16_t stage_capacity;
    uint32_t stage_bytes;
    uint32_t stage_written;
    int32_t stage_seq; // of its DATA, or -1

    // Receive buffers, and the decoder that fills one of them.
    struct cl_frame_decoder decoder;
    uint8_t *buffers;
    uint16_t buffer_bytes; // of each

    uint32_t frames_received;
    uint32_t frames_malformed;
    uint32_t data_resent;
    uint32_t bytes_received;
    uint32_t bytes_sent;
};

// Prepares a closed link. Returns the bytes of memory used, or CL_ERROR_ARGUMENT, CL_ERROR_MEMORY.
int32_t cl_link_init(struct cl_link *link, const struct cl_link_config *config) CL_CHECK_RESULT;

// Host: opens a connection; `connection` is not 0 and not the one before. Returns 0 or
// CL_ERROR_ARGUMENT.
int32_t cl_link_connect(struct cl_link *link, uint16_t connection, uint32_t now_ms) CL_CHECK_RESULT;

// The pipe broke: forgets frames half read and half written. The connection stays until it is dead.
void cl_link_interrupted(struct cl_link *link);

// Takes bytes that came. Any bytes are good: what is no frame is counted and dropped.
void cl_link_receive(struct cl_link *link, const uint8_t *data, uint32_t count, uint32_t now_ms);

// The next message in order: sets `payload` and returns its bytes, or returns 0 when there is none.
// While messages lie here the other side has no credit. cl_link_release is done with it; its bytes
// stay until cl_link_receive.
uint32_t cl_link_message(const struct cl_link *link, const uint8_t **payload);
void cl_link_release(struct cl_link *link);

// Messages that cl_link_send takes now.
uint32_t cl_link_room(const struct cl_link *link);

// Messages handed in and not yet known to have arrived.
uint32_t cl_link_outstanding(const struct cl_link *link);

// Bytes of the longest payload that may be sent on this connection.
uint32_t cl_link_payload_max(const struct cl_link *link);

// Queues a message of at most `payload_max` bytes. Returns 0, CL_ERROR_CLOSED, CL_ERROR_MEMORY (no
// room), or CL_ERROR_ARGUMENT (longer than cl_link_payload_max).
int32_t cl_link_send(struct cl_link *link, const struct cl_link_token *token,
                     uint32_t payload_max) CL_CHECK_RESULT;

// Bytes to write now: sets `data` and returns how many, 0 for none. Tell with cl_link_written how
// many were taken, and ask again.
uint32_t cl_link_transmit(struct cl_link *link, uint32_t now_ms, const uint8_t **data);
void cl_link_written(struct cl_link *link, uint32_t count, uint32_t now_ms);

// The set of events since it was last asked for.
uint32_t cl_link_events(struct cl_link *link);

// Milliseconds until cl_link_transmit may have something to do without new input; UINT32_MAX for
// never.
uint32_t cl_link_timeout_ms(const struct cl_link *link, uint32_t now_ms);

#endif
