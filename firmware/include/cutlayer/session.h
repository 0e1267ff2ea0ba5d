// The session: what a board does with the messages of a host (SPEC.md, section 3). It knows no
// link, no sensor and no clock: messages and events go in, replies come out as tokens that
// cl_session_encode turns into payloads, as often as the link sends them.
#ifndef CUTLAYER_SESSION_H
#define CUTLAYER_SESSION_H

#include "cutlayer/codec.h"
#include "cutlayer/keys.h"
#include "cutlayer/link.h"
#include "cutlayer/message.h"
#include "cutlayer/model.h"
#include "cutlayer/saver.h"
#include "cutlayer/train.h"

#define CL_VERSION_MAJOR 0
#define CL_VERSION_MINOR 1
#define CL_VERSION_PATCH 0

enum cl_state {
    CL_STATE_CONNECTED = 0,
    CL_STATE_GREETED = 1,
    CL_STATE_READY = 2,
    CL_STATE_CAPTURING = 3,
    CL_STATE_SENDING = 4,
    CL_STATE_AWAITING = 5,
    CL_STATE_ADDING = 6,
    CL_STATE_SAVING = 7,
};

// What happens to a session beside messages; the numbers are no kinds of messages.
enum cl_event {
    CL_EVENT_OPENED = 0xF0,   // a new connection, or none any more
    CL_EVENT_CAPTURED = 0xF1, // the smashed data lies in the arena
    CL_EVENT_FAILED = 0xF2,   // the sensor gave nothing
    CL_EVENT_SENT = 0xF3,     // an inferred sample has arrived at the host
    CL_EVENT_AWAITED = 0xF4,  // a sample to train with has
    CL_EVENT_ADDED = 0xF5,    // the last PIECE of a gradient was added
    CL_EVENT_DROPPED = 0xF6,  // a message in ADDING was refused
    CL_EVENT_SAVED = 0xF7,    // a save ended, well or not
};

// The counters of STATS_ARE, in order.
enum cl_counter {
    CL_COUNTER_FRAMES_RECEIVED,
    CL_COUNTER_FRAMES_MALFORMED,
    CL_COUNTER_DATA_RESENT,
    CL_COUNTER_BYTES_RECEIVED,
    CL_COUNTER_BYTES_SENT,
    CL_COUNTER_SENSOR_TICKS,
    CL_COUNTER_HEAD_TICKS,
    CL_COUNTER_ACCUMULATE_TICKS,
    CL_COUNTER_APPLY_TICKS,
    CL_COUNTER_STACK_BYTES,
    CL_COUNTER_MEMORY_BYTES,
    CL_COUNTER_SAMPLES_CAPTURED,
    CL_COUNTER_SAMPLES_ADDED,
    CL_COUNTER_STEPS_APPLIED,
    CL_COUNTER_MESSAGES_REFUSED,
    CL_COUNTER_SAVES,
    CL_COUNTER_STORAGE_BYTES,
    CL_COUNTER_SAVE_TICKS,
    CL_COUNTER_COUNT,
};

// What a host may do to the weights, whoever it is: the norm of a sample's gradient dL/dy, and the
// learning rate; beyond is CL_ERROR_LIMIT. A build sets others (boards/NAME.json:
// cutlayer.gradient_norm_max, cutlayer.learning_rate_max).
#ifndef CL_GRADIENT_NORM_MAX
#define CL_GRADIENT_NORM_MAX 100.0f
#endif
#ifndef CL_LEARNING_RATE_MAX
#define CL_LEARNING_RATE_MAX 10.0f
#endif

struct cl_session_config {
    const struct cl_model *model;
    const char *board;        // name for WELCOME
    uint32_t recording_count; // that the sensor has
    uint8_t is_live;          // 1 when the sensor takes CL_RECORDING_LIVE
    int8_t *arena;            // [head.arena_bytes]
    void *train_memory;       // cl_train_bytes for the layer's optimizer_max, aligned to 8
    uint32_t train_bytes;
    struct cl_saver *saver; // null without storage, or without a trainable layer
    struct cl_keys *keys;   // null: no host needs a key
};

struct cl_session {
    struct cl_session_config config;
    struct cl_train train; // when the model has a trainable layer
    enum cl_state state;
    uint8_t configured;
    uint8_t activation_codec;
    uint8_t gradient_codec;
    uint16_t cut;
    uint32_t run; // lineage of the weights; 0: none

    // The pending sample.
    struct cl_sample sample;
    int16_t label;
    uint32_t saturated;
    uint32_t crc;         // of the smashed data
    uint32_t row_held;    // the row of it in the arena, where the head makes rows
    uint8_t head_queued;  // ACTIVATION has been handed to the link
    uint32_t next_queued; // first element that has not

    // Its gradient, and the step.
    uint32_t gradient_next; // first element that has not come
    uint32_t squares_left;  // what the sum of g^2 of its elements may still grow by
    float gradient_scale;
    uint32_t wait_ms;    // until a step may be applied: the node has the clock
    uint8_t has_applied; // `applied` says how the last step went
    struct cl_applied applied;

    uint32_t counters[CL_COUNTER_COUNT];
};

// Prepares a session that is CONNECTED, with the newest state that the storage holds or else the
// converted weights. Returns 0, or an error of cl_train_init.
int32_t cl_session_init(struct cl_session *session,
                        const struct cl_session_config *config) CL_CHECK_RESULT;

// Tells of an event. Returns 0, or CL_ERROR_STATE when the present state does not know it.
int32_t cl_session_event(struct cl_session *session, enum cl_event event) CL_CHECK_RESULT;

// Whether a message of this kind has to wait: while a sample is captured or sent, or a state saved,
// and, when it changes what replies are made of, until the `outstanding` replies have arrived.
int32_t cl_session_waits(const struct cl_session *session, uint8_t kind, uint32_t outstanding);

// Takes one message of any bytes. Returns 1 when `reply` has to be sent, 0 when there is no answer.
// Whatever is wrong with the message is in the reply.
int32_t cl_session_take(struct cl_session *session, const uint8_t *payload, uint32_t bytes,
                        struct cl_link_token *reply) CL_CHECK_RESULT;

// The ops of the head that a sample runs: [0, this).
uint16_t cl_session_op_count(const struct cl_session *session);

// Runs op `op` of the head: the trainable layer from RAM, all others as converted. After the last
// one it knows what ACTIVATION says of the smashed data, and the gradient's mask. Where the head
// makes rows each row is made here once, and once more whenever a message with it is written.
// Returns 0 or negative.
int32_t cl_session_run(struct cl_session *session, uint16_t op) CL_CHECK_RESULT;

// CAPTURING is over: the sample's label, and SENDING. Returns 0 or CL_ERROR_STATE.
int32_t cl_session_captured(struct cl_session *session, int32_t label) CL_CHECK_RESULT;

// CAPTURING failed with the sensor's `code`: sets the ERROR to send. Returns 0 or CL_ERROR_STATE.
int32_t cl_session_failed(struct cl_session *session, int32_t code,
                          struct cl_link_token *reply) CL_CHECK_RESULT;

// SENDING: the next message of the sample for payloads of at most `capacity` bytes. Returns 1 when
// `token` is set, 0 when all have been handed out.
int32_t cl_session_next(struct cl_session *session, uint32_t capacity, struct cl_link_token *token);

// SENDING is over: everything has arrived. Returns 0 or CL_ERROR_STATE.
int32_t cl_session_sent(struct cl_session *session) CL_CHECK_RESULT;

// The most bytes of a reply's payload, for cl_link_send.
uint32_t cl_session_reply_bytes(const struct cl_link_token *token, uint32_t capacity);

// Writes the payload of a reply. Returns its bytes, or CL_ERROR_MEMORY.
int32_t cl_session_encode(struct cl_session *session, const struct cl_link_token *token,
                          uint8_t *payload, uint32_t capacity) CL_CHECK_RESULT;

#endif
