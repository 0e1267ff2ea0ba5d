#include "cutlayer/session.h"

#include "bytes.h"
#include "cutlayer/sensor.h"
#include "session_state.h"

static void drop_step(struct cl_session *session)
{
    if (cl_session_is_trainable(session)) {
        cl_train_clear(&session->train);
    }
}

int32_t cl_session_start_over(struct cl_session *session)
{
    const struct cl_session_config *config = &session->config;
    const struct cl_trainable *layer = config->model->trainable;
    session->configured = 0;
    session->has_applied = 0;
    session->run = 0;
    if (!layer) {
        return 0;
    }
    struct cl_train_config train = {layer->optimizer_max, 0.9f, 0.999f, 1e-7f};
    int32_t result =
        cl_train_init(&session->train, layer, &train, config->train_memory, config->train_bytes);
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
                             ? cl_train_init(&session->train, layer, &train, config->train_memory,
                                             config->train_bytes)
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

// (norm / scale)^2: what the sum of g^2 may come to. A sum beyond 32 bits is never taken.
static uint32_t squares_max(float scale)
{
    float ratio = CL_GRADIENT_NORM_MAX / scale;
    float most = ratio * ratio;
    return most < 4294967296.0f ? (uint32_t)most : UINT32_MAX;
}

static int32_t on_gradient(struct cl_session *session, const struct cl_message *message,
                           struct cl_link_token *reply)
{
    const struct cl_gradient *gradient = &message->as.gradient;
    (void)reply;
    if (gradient->sample != session->sample.sample) {
        return CL_ERROR_SAMPLE;
    }
    if (gradient->codec != session->gradient_codec ||
        gradient->count != cl_shape_count(cl_session_deepest_cut(session)->shape) ||
        (session->train.samples_in_step > 0 && gradient->scale != session->gradient_scale)) {
        return CL_ERROR_VALUE;
    }
    session->gradient_scale = gradient->scale;
    session->squares_left = squares_max(gradient->scale);
    session->gradient_next = 0;
    return 0;
}

// Takes the row at hand off what the gradient's norm may come to. Returns 0 or CL_ERROR_LIMIT.
static int32_t charge_row(struct cl_session *session, uint32_t channels)
{
    uint32_t squares = 0; // fits: at most 65,535 channels
    for (uint32_t i = 0; i < channels; i++) {
        const int16_t g = session->config.row[i];
        squares += (uint32_t)(g * g);
    }
    if (squares > session->squares_left) {
        return CL_ERROR_LIMIT;
    }
    session->squares_left -= squares;
    return 0;
}

// Adds `count` elements of the gradient to the row at hand, and the row to the accumulator when it
// is whole.
static int32_t add_to_row(struct cl_session *session, const struct cl_mask *mask, uint32_t count,
                          const uint8_t *data, uint32_t *code)
{
    const struct cl_head *head = &session->config.model->head;
    uint32_t channels = session->config.model->trainable->channel_count;
    uint32_t channel = session->gradient_next % channels;
    const int8_t *y =
        session->config.arena + cl_session_deepest_cut(session)->offset + session->gradient_next;
    const int8_t *input = session->config.arena + head->ops[head->op_count - 1].input;
    int32_t result = cl_codec_gradient_decode(session->gradient_codec, mask, y, count, data, code,
                                              session->config.row + channel);
    if (result < 0) {
        return result;
    }
    session->gradient_next += count;
    if (channel + count < channels) {
        return 0;
    }
    result = charge_row(session, channels);
    if (result < 0) {
        return result;
    }
    return cl_train_accumulate(&session->train, input, session->gradient_next / channels - 1,
                               session->config.row);
}

static int32_t on_piece(struct cl_session *session, const struct cl_message *message,
                        struct cl_link_token *reply)
{
    const struct cl_piece *piece = &message->as.piece;
    const struct cl_cut cut = cl_session_cut(session);
    const int8_t *y = session->config.arena + cut.offset;
    uint32_t total = cl_shape_count(cut.shape);
    uint32_t channels = session->config.model->trainable->channel_count;
    struct cl_mask mask =
        cl_mask_of(session->activation_codec, cut.activation_min, cut.activation_max);
    uint32_t code = 0;
    (void)reply;
    if (piece->first != session->gradient_next || piece->count > total - piece->first) {
        return CL_ERROR_VALUE;
    }
    if (piece->data_bytes !=
        cl_codec_gradient_bytes(session->gradient_codec, &mask, y + piece->first, piece->count)) {
        return CL_ERROR_LENGTH;
    }
    for (uint32_t left = piece->count; left > 0;) {
        uint32_t room = channels - session->gradient_next % channels;
        uint32_t count = left < room ? left : room;
        int32_t result = add_to_row(session, &mask, count, piece->data, &code);
        if (result < 0) {
            return result;
        }
        left -= count;
    }
    if (session->gradient_next < total) {
        return 0;
    }
    int32_t result = cl_train_end_sample(&session->train);
    session->counters[CL_COUNTER_SAMPLES_ADDED]++;
    return result < 0 ? result : cl_session_event(session, CL_EVENT_ADDED);
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
    {CL_GRADIENT, AWAITING, CL_STATE_ADDING, on_gradient},
    {CL_PIECE, ADDING, SAME, on_piece},
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

// --- a sample ---

uint16_t cl_session_op_count(const struct cl_session *session)
{
    return session->config.model->head.cuts[session->cut].op_count;
}

int32_t cl_session_run(struct cl_session *session, uint16_t op)
{
    const struct cl_head *head = &session->config.model->head;
    int8_t *arena = session->config.arena;
    if (!cl_session_runs_trainable(session) || op + 1 != head->op_count) {
        int32_t result = cl_head_run(head, arena, op, (uint16_t)(op + 1));
        session->saturated = 0;
        return result < 0 ? result : 0;
    }
    const struct cl_op *last = &head->ops[op];
    int32_t result = cl_train_forward(&session->train, arena + last->input, arena + last->output,
                                      arena + last->scratch);
    session->saturated = result < 0 ? 0 : (uint32_t)result;
    return result < 0 ? result : 0;
}

int32_t cl_session_captured(struct cl_session *session, int32_t label)
{
    const struct cl_cut cut = cl_session_cut(session);
    session->label = (int16_t)(label < 0 || label > INT16_MAX ? CL_LABEL_NONE : label);
    session->crc = cl_crc32(0, session->config.arena + cut.offset, cl_shape_count(cut.shape));
    session->head_queued = 0;
    session->next_queued = 0;
    session->counters[CL_COUNTER_SAMPLES_CAPTURED]++;
    return cl_session_event(session, CL_EVENT_CAPTURED);
}

int32_t cl_session_failed(struct cl_session *session, int32_t code, struct cl_link_token *reply)
{
    cl_session_refuse(session, CL_SAMPLE, CL_ERROR_SENSOR, (uint32_t)code, reply);
    return cl_session_event(session, CL_EVENT_FAILED);
}

int32_t cl_session_next(struct cl_session *session, uint32_t capacity, struct cl_link_token *token)
{
    const struct cl_cut cut = cl_session_cut(session);
    uint32_t left = cl_shape_count(cut.shape) - session->next_queued;
    if (!session->head_queued) {
        session->head_queued = 1;
        *token = cl_session_token(CL_ACTIVATION, 0, 0, 0);
        return 1;
    }
    if (left == 0) {
        return 0;
    }
    // Fits u16: even a bit an element, 4096 bytes hold fewer than 2^15.
    uint32_t count = cl_codec_fit(session->activation_codec, cut.zero_point,
                                  session->config.arena + cut.offset + session->next_queued, left,
                                  capacity - CL_PIECE_BYTES);
    *token = cl_session_token(CL_PIECE, 0, session->next_queued, count);
    session->next_queued += count;
    return 1;
}

int32_t cl_session_sent(struct cl_session *session)
{
    return cl_session_event(session, session->sample.mode == CL_MODE_TRAIN ? CL_EVENT_AWAITED
                                                                           : CL_EVENT_SENT);
}
