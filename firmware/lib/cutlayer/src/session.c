#include "cutlayer/session.h"

#include "bytes.h"
#include "session_state.h"

static void drop_step(struct cl_session *session)
{
    if (cl_session_is_trainable(session)) {
        cl_train_clear(&session->train);
    }
}

int32_t cl_session_restart(struct cl_session *session, const struct cl_train_config *config)
{
    const struct cl_trainable *layer = session->config.model->trainable;
    return cl_train_init(&session->train, layer, config, session->config.train_memory,
                         session->config.train_bytes,
                         session->config.arena + layer->gradient_offset);
}

int32_t cl_session_start_over(struct cl_session *session)
{
    const struct cl_trainable *layer = session->config.model->trainable;
    session->configured = 0;
    session->has_applied = 0;
    session->run = 0;
    if (!layer) {
        return 0;
    }
    struct cl_train_config train = {layer->optimizer_max, 0.9f, 0.999f, 1e-7f};
    int32_t result = cl_session_restart(session, &train);
    return result < 0 ? result : 0;
}

int32_t cl_session_init(struct cl_session *session, const struct cl_session_config *config)
{
    memset(session, 0, sizeof *session);
    session->config = *config;
    session->cut = (uint16_t)(config->model->head.cut_count - 1);
    int32_t result = cl_session_start_over(session);
    if (result == 0 && config->saver) {
        config->saver->calls->open(config->saver, session);
    }
    return result;
}

// --- messages ---

typedef int32_t (*handler)(struct cl_session *session, const struct cl_message *message,
                           struct cl_link_token *reply);

// Every handler returns 1 with a reply, 0 without one, or the error that the host is told.

static int32_t on_hello(struct cl_session *session, const struct cl_message *message,
                        struct cl_link_token *reply)
{
    (void)session;
    (void)message;
    *reply = cl_session_token(CL_WELCOME, 0, 0, 0);
    return 1;
}

static int32_t on_configure(struct cl_session *session, const struct cl_message *message,
                            struct cl_link_token *reply)
{
    const struct cl_configure *configure = &message->as.configure;
    const struct cl_session_config *config = &session->config;
    if (configure->cut >= config->model->head.cut_count ||
        config->model->head.cuts[configure->cut].op_count == 0) {
        return CL_ERROR_VALUE;
    }
    if (configure->cut < config->model->first_cut) {
        return CL_ERROR_LIMIT;
    }
    if (cl_session_is_trainable(session)) {
        const struct cl_trainable *layer = config->model->trainable;
        struct cl_train_config train = {(enum cl_optimizer)configure->optimizer,
                                        configure->momentum, configure->beta2, configure->epsilon};
        if (train.optimizer > layer->optimizer_max) {
            return CL_ERROR_VALUE;
        }
        // Before its first CONFIGURE a board has nothing to keep.
        int32_t result = configure->restart || !session->configured
                             ? cl_session_restart(session, &train)
                             : cl_train_configure(&session->train, &train);
        if (result < 0) {
            return result;
        }
        session->has_applied = session->has_applied && session->train.step > 0;
    }
    drop_step(session);
    session->configured = 1;
    session->run = configure->run;
    session->cut = configure->cut;
    session->activation_codec = configure->activation_codec;
    session->gradient_codec = configure->gradient_codec;
    *reply = cl_session_token(CL_CONFIGURED, 0, cl_session_last_step(session), 0);
    return 1;
}

static int32_t on_sample(struct cl_session *session, const struct cl_message *message,
                         struct cl_link_token *reply)
{
    (void)reply;
    if (message->as.sample.mode == CL_MODE_TRAIN && !cl_session_runs_trainable(session)) {
        return CL_ERROR_VALUE;
    }
    session->sample = message->as.sample;
    return 0;
}

uint32_t cl_session_weights_crc(const struct cl_session *session)
{
    const struct cl_trainable *layer = session->config.model->trainable;
    uint32_t count = layer->weight_count + layer->channel_count;
    uint32_t crc = 0;
    uint8_t bytes[4];
    for (uint32_t i = 0; i < count; i++) {
        cl_put_f32(bytes, cl_train_master(&session->train, i));
        crc = cl_crc32(crc, bytes, sizeof bytes);
    }
    return crc;
}

static int32_t on_apply(struct cl_session *session, const struct cl_message *message,
                        struct cl_link_token *reply)
{
    const struct cl_apply *apply = &message->as.apply;
    *reply = cl_session_token(CL_APPLIED, 0, apply->step, 0);
    if (session->has_applied && apply->step == session->applied.step) {
        return 1; // a repeat
    }
    if (!cl_session_is_trainable(session)) {
        return CL_ERROR_STATE;
    }
    if (apply->step != session->train.step + 1) {
        return CL_ERROR_STEP;
    }
    if (apply->samples != session->train.samples_in_step) {
        return CL_ERROR_SAMPLE;
    }
    if (session->wait_ms > 0 || apply->learning_rate > CL_LEARNING_RATE_MAX) {
        return CL_ERROR_LIMIT;
    }
    uint32_t saturated = session->train.saturated;
    int32_t result = cl_train_apply(&session->train, session->gradient_scale, apply->learning_rate);
    if (result < 0) {
        return result;
    }
    session->has_applied = 1;
    session->applied.step = session->train.step;
    session->applied.saturated = saturated;
    session->applied.weights_crc = cl_session_weights_crc(session);
    session->counters[CL_COUNTER_STEPS_APPLIED]++;
    return 1;
}

static int32_t on_clear(struct cl_session *session, const struct cl_message *message,
                        struct cl_link_token *reply)
{
    (void)message;
    drop_step(session);
    *reply = cl_session_token(CL_CLEARED, 0, cl_session_last_step(session), 0);
    return 1;
}

static int32_t on_rescale(struct cl_session *session, const struct cl_message *message,
                          struct cl_link_token *reply)
{
    const struct cl_rescale *rescale = &message->as.rescale;
    if (!cl_session_is_trainable(session) || session->train.samples_in_step > 0) {
        return CL_ERROR_STATE;
    }
    int32_t result = cl_train_rescale(&session->train, rescale->scale, rescale->zero_point);
    *reply = cl_session_token(CL_RESCALED, 0, cl_session_last_step(session), 0);
    return result < 0 ? result : 1;
}

static int32_t on_read(struct cl_session *session, const struct cl_message *message,
                       struct cl_link_token *reply)
{
    const struct cl_read *read = &message->as.read;
    const void *data;
    if (read->offset > cl_session_section(session, read->section, &data)) {
        return CL_ERROR_VALUE;
    }
    *reply = cl_session_token(CL_DATA_READ, read->section, read->offset, read->count);
    return 1;
}

static int32_t on_stats(struct cl_session *session, const struct cl_message *message,
                        struct cl_link_token *reply)
{
    (void)session;
    (void)message;
    *reply = cl_session_token(CL_STATS_ARE, 0, 0, 0);
    return 1;
}

// SAVE and RESTORE.
static int32_t on_saver(struct cl_session *session, const struct cl_message *message,
                        struct cl_link_token *reply)
{
    struct cl_saver *saver = session->config.saver;
    return saver ? saver->calls->take(saver, session, message, reply) : CL_ERROR_STORAGE;
}

// PROVISION and FORGET.
static int32_t on_keys(struct cl_session *session, const struct cl_message *message,
                       struct cl_link_token *reply)
{
    struct cl_keys *keys = session->config.keys;
    const uint8_t answer = message->kind == CL_PROVISION ? CL_PROVISIONED : CL_FORGOTTEN;
    const int32_t result = keys ? keys->take(keys, message) : CL_ERROR_KEY;
    *reply = cl_session_token(answer, 0, 0, 0);
    return result < 0 ? result : 1;
}

// --- states (SPEC.md, section 3.2) ---

#define IN(state) (1u << (state))
#define CONNECTED IN(CL_STATE_CONNECTED)
#define GREETED IN(CL_STATE_GREETED)
#define READY IN(CL_STATE_READY)
#define CAPTURING IN(CL_STATE_CAPTURING)
#define SENDING IN(CL_STATE_SENDING)
#define AWAITING IN(CL_STATE_AWAITING)
#define ADDING IN(CL_STATE_ADDING)
#define SAVING IN(CL_STATE_SAVING)
#define ANY 0xFFu
#define SAME 0xFFu

// A message or event, the states that take it, the state it leads to when its handler has no error.
static const struct rule {
    uint8_t what;
    uint8_t from;
    uint8_t to;
    handler handle;
} rules[] = {
    {CL_HELLO, CONNECTED, CL_STATE_GREETED, on_hello},
    {CL_HELLO, GREETED | READY | AWAITING, SAME, on_hello},
    {CL_CONFIGURE, GREETED | READY | AWAITING, CL_STATE_READY, on_configure},
    {CL_SAMPLE, READY | AWAITING, CL_STATE_CAPTURING, on_sample},
    {CL_GRADIENT, AWAITING, CL_STATE_ADDING, cl_session_on_gradient},
    {CL_PIECE, ADDING, SAME, cl_session_on_piece},
    {CL_APPLY, READY, SAME, on_apply},
    {CL_CLEAR, READY | AWAITING, CL_STATE_READY, on_clear},
    {CL_RESCALE, READY, SAME, on_rescale},
    {CL_READ, GREETED | READY | AWAITING, SAME, on_read},
    {CL_STATS, GREETED | READY | AWAITING, SAME, on_stats},
    {CL_SAVE, READY, CL_STATE_SAVING, on_saver},
    {CL_RESTORE, GREETED | READY | AWAITING, CL_STATE_GREETED, on_saver},
    {CL_PROVISION, GREETED | READY, SAME, on_keys},
    {CL_FORGET, GREETED | READY, SAME, on_keys},
    {CL_EVENT_CAPTURED, CAPTURING, CL_STATE_SENDING, 0},
    {CL_EVENT_FAILED, CAPTURING, CL_STATE_READY, 0},
    {CL_EVENT_SENT, SENDING, CL_STATE_READY, 0},
    {CL_EVENT_AWAITED, SENDING, CL_STATE_AWAITING, 0},
    {CL_EVENT_ADDED, ADDING, CL_STATE_READY, 0},
    {CL_EVENT_DROPPED, ADDING, CL_STATE_READY, 0},
    {CL_EVENT_SAVED, SAVING, CL_STATE_READY, 0},
    {CL_EVENT_OPENED, ANY, CL_STATE_CONNECTED, 0},
};

static const struct rule *rule_for(const struct cl_session *session, uint8_t what)
{
    for (uint32_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].what == what && (rules[i].from & IN(session->state))) {
            return &rules[i];
        }
    }
    return 0;
}

int32_t cl_session_event(struct cl_session *session, enum cl_event event)
{
    const struct rule *rule = rule_for(session, (uint8_t)event);
    if (!rule) {
        return CL_ERROR_STATE;
    }
    session->state = (enum cl_state)rule->to;
    if (event == CL_EVENT_OPENED && session->config.keys) {
        session->config.keys->is_new = 0;
    }
    if (event == CL_EVENT_OPENED || event == CL_EVENT_DROPPED) {
        drop_step(session);
    }
    return 0;
}

int32_t cl_session_waits(const struct cl_session *session, uint8_t kind, uint32_t outstanding)
{
    int changes = kind == CL_CONFIGURE || kind == CL_APPLY || kind == CL_RESCALE ||
                  kind == CL_SAVE || kind == CL_RESTORE || kind == CL_PROVISION ||
                  kind == CL_FORGET;
    int is_busy = (IN(session->state) & (CAPTURING | SENDING | SAVING)) != 0 ||
                  (session->config.keys && session->config.keys->is_new);
    return is_busy || (changes && outstanding > 0);
}

// Finds the rule and follows it. Returns what the handler returns.
static int32_t follow(struct cl_session *session, const struct cl_message *message,
                      struct cl_link_token *reply)
{
    const struct rule *rule = rule_for(session, message->kind);
    const struct cl_keys *keys = session->config.keys;
    if (keys && !keys->has_key && message->kind != CL_HELLO && message->kind != CL_PROVISION) {
        return CL_ERROR_KEY;
    }
    if (!rule) {
        return CL_ERROR_STATE;
    }
    int32_t result = rule->handle(session, message, reply);
    if (result >= 0 && rule->to != SAME) {
        session->state = (enum cl_state)rule->to;
    }
    return result;
}

void cl_session_refuse(struct cl_session *session, uint8_t about, int32_t code, uint32_t detail,
                       struct cl_link_token *reply)
{
    session->counters[CL_COUNTER_MESSAGES_REFUSED]++;
    *reply = cl_session_token(CL_ERROR, about, (uint32_t)code, detail);
}

int32_t cl_session_take(struct cl_session *session, const uint8_t *payload, uint32_t bytes,
                        struct cl_link_token *reply)
{
    struct cl_message message;
    int32_t result = cl_message_decode(&message, payload, bytes);
    if (message.kind == CL_ERROR) {
        return 0; // never answered
    }
    if (result == 0) {
        result = follow(session, &message, reply);
    }
    if (result >= 0) {
        return result;
    }
    const uint32_t detail = result == CL_ERROR_LIMIT ? session->wait_ms : (uint32_t)session->state;
    cl_session_refuse(session, message.kind, result, detail, reply);
    if (session->state == CL_STATE_ADDING) {
        result = cl_session_event(session, CL_EVENT_DROPPED);
    }
    return 1;
}
