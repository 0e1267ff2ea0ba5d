#include "small_model.h"
#include "talk.h"

// A session without a link: messages of any bytes, and the events of a board in any order that its
// state allows.

#define PAYLOAD_MAX 952u

static void check_reply(struct cl_session *session, const struct cl_link_token *reply)
{
    uint32_t capacity = chosen_below(2) ? CL_LINK_PAYLOAD_MIN : PAYLOAD_MAX;
    uint8_t *payload = block_of(capacity);
    int32_t bytes = cl_session_encode(session, reply, payload, capacity);
    check(bytes > 0 && (uint32_t)bytes <= cl_session_reply_bytes(reply, capacity),
          "a reply is written, and no longer than was said");
    check(payload[0] >= 0x80 || payload[0] == CL_PIECE || payload[0] == CL_ERROR,
          "a reply is one that boards send");
    reached_by(payload[0]);
    free(payload);
}

static void take(void *context, const uint8_t *bytes, uint32_t count)
{
    struct cl_session *session = context;
    if (count > 0 && cl_session_waits(session, bytes[0], 0)) {
        return;
    }
    struct cl_link_token reply;
    uint32_t step = session->train.step;
    enum cl_state state = session->state;
    uint32_t refused = session->counters[CL_COUNTER_MESSAGES_REFUSED];
    int32_t result = cl_session_take(session, bytes, count, &reply);
    check(result == 0 || result == 1, "a message has an answer or none");
    if (result == 1) {
        check_reply(session, &reply);
    }
    if (session->counters[CL_COUNTER_MESSAGES_REFUSED] != refused) {
        check(result == 1, "the host is told");
        check(session->state == state || state == CL_STATE_ADDING, "the state stays");
        check(session->train.step == step, "no step is made of what is refused");
    } else if (session->train.step != step) {
        check(bytes[0] == CL_CONFIGURE || bytes[0] == CL_RESTORE ||
                  (bytes[0] == CL_APPLY && session->train.step == step + 1),
              "steps are made one by one, by APPLY");
    }
    check(session->state <= CL_STATE_SAVING, "the state is one of them");
}

static void capture(struct cl_session *session)
{
    struct cl_link_token reply;
    if (chosen_below(8) == 0) {
        check(cl_session_failed(session, -160, &reply) == 0, "a sensor may fail");
        check_reply(session, &reply);
        return;
    }
    for (uint32_t i = 0; i < 36; i++) {
        session->config.arena[i] = (int8_t)noise_u32();
    }
    for (uint16_t op = 0; op < cl_session_op_count(session); op++) {
        check(cl_session_run(session, op) == 0, "a head runs");
    }
    check(cl_session_captured(session, (int32_t)chosen_below(5) - 2) == 0, "a sample is captured");
}

// Bounded: every message covers something.
static void send(struct cl_session *session)
{
    struct cl_link_token token;
    for (uint32_t i = 0; i < 3; i++) {
        if (cl_session_next(session, CL_LINK_PAYLOAD_MIN, &token) == 0) {
            check(cl_session_sent(session) == 0, "a sample is sent");
            return;
        }
        check_reply(session, &token);
    }
}

static void go_on(struct cl_session *session, const struct talk *talk)
{
    if (session->state == CL_STATE_CAPTURING) {
        capture(session);
    } else if (session->state == CL_STATE_SENDING) {
        send(session);
    } else if (chosen_below(50) == 0) {
        check(cl_session_event(session, CL_EVENT_OPENED) == 0, "a connection comes any time");
        talk_hello(talk);
        talk_configure(talk);
    } else if (chosen_below(12) == 0) {
        uint8_t bytes[48];
        uint32_t count = chosen_below(sizeof bytes);
        for (uint32_t i = 0; i < count; i++) {
            bytes[i] = (uint8_t)chosen_below(256);
        }
        take(session, bytes, count);
    } else {
        talk_on(talk);
    }
}

void fuzz_session(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    uint32_t train_bytes = cl_train_bytes(&small_trainable, CL_OPTIMIZER_ADAM);
    struct cl_session session;
    struct cl_session_config config = {.model = &small_model,
                                       .board = "fuzz",
                                       .recording_count = 8,
                                       .arena = block_of(SMALL_ARENA),
                                       .train_memory = block_of(train_bytes),
                                       .train_bytes = train_bytes};
    memset(config.arena, 0, SMALL_ARENA);
    check(cl_session_init(&session, &config) == 0, "a session begins");
    struct talk talk = {&session, chosen_below(2), take, &session};
    talk_hello(&talk);
    talk_configure(&talk);
    while (choices_left()) {
        go_on(&session, &talk);
    }
    reached(REACH_ADDED, session.counters[CL_COUNTER_SAMPLES_ADDED]);
    free(config.train_memory);
    free(config.arena);
}
