#include "cutlayer/saver.h"

#include "bytes.h"
#include "session_state.h"

#define PIECE_BYTES 128u // written in one step, on the stack

enum phase { PHASE_ERASE, PHASE_WRITE, PHASE_DONE };

// --- what a state is made of ---

// The head of the body: the session's model and step, and the scalars of the trainable layer.
static void put_head(const struct cl_session *session, uint8_t *head)
{
    const struct cl_train *train = &session->train;
    memset(head, 0, CL_SAVER_HEAD_BYTES);
    memcpy(head, session->config.model->id, 32);
    cl_put_u32(head + 32, session->run);
    cl_put_u32(head + 36, train->step);
    head[40] = (uint8_t)train->config.optimizer;
    cl_put_f32(head + 44, train->config.momentum);
    cl_put_f32(head + 48, train->config.beta2);
    cl_put_f32(head + 52, train->config.epsilon);
    cl_put_f32(head + 56, train->beta1_power);
    cl_put_f32(head + 60, train->beta2_power);
    cl_put_f32(head + 64, train->output_scale);
    head[68] = (uint8_t)train->params.output_zero_point;
    head[69] = (uint8_t)train->params.activation_min;
    head[70] = (uint8_t)train->params.activation_max;
    head[71] = session->has_applied;
    if (session->has_applied) {
        cl_put_u32(head + 72, session->applied.weights_crc);
        cl_put_u32(head + 76, session->applied.saturated);
    }
}

static enum cl_optimizer optimizer_of(const uint8_t *head)
{
    return (enum cl_optimizer)head[40];
}

// Takes over the scalars of a head, after cl_train_init with its optimizer.
static void take_head(struct cl_session *session, const uint8_t *head)
{
    struct cl_train *train = &session->train;
    session->run = cl_get_u32(head + 32);
    train->step = cl_get_u32(head + 36);
    train->beta1_power = cl_get_f32(head + 56);
    train->beta2_power = cl_get_f32(head + 60);
    train->output_scale = cl_get_f32(head + 64);
    train->params.output_zero_point = (int8_t)head[68];
    train->params.activation_min = (int8_t)head[69];
    train->params.activation_max = (int8_t)head[70];
    session->has_applied = head[71];
    session->applied.step = train->step;
    session->applied.weights_crc = cl_get_u32(head + 72);
    session->applied.saturated = cl_get_u32(head + 76);
}

// The body in order: the head, then the layer's memory.
struct body {
    uint8_t head[CL_SAVER_HEAD_BYTES];
    struct cl_train_span spans[1 + CL_TRAIN_SPANS];
};

static uint32_t lay_out(const struct cl_train *train, struct body *body)
{
    uint32_t bytes = CL_SAVER_HEAD_BYTES;
    body->spans[0] = (struct cl_train_span){body->head, bytes};
    cl_train_spans(train, body->spans + 1);
    for (uint32_t i = 1; i <= CL_TRAIN_SPANS; i++) {
        bytes += body->spans[i].bytes;
    }
    return bytes;
}

// Copies `count` bytes of the body from `offset` on.
static void copy_out(const struct body *body, uint32_t offset, uint8_t *piece, uint32_t count)
{
    for (const struct cl_train_span *span = body->spans; count > 0; span++) {
        if (offset >= span->bytes) {
            offset -= span->bytes;
            continue;
        }
        const uint32_t left = span->bytes - offset;
        const uint32_t part = left < count ? left : count;
        memcpy(piece, (const uint8_t *)span->data + offset, (size_t)part);
        piece += part;
        count -= part;
        offset = 0;
    }
}

// --- loading ---

// Reads the head of a slot. Returns whether the session could go on from there.
static int is_ours(const struct cl_saver *saver, const struct cl_session *session, uint8_t slot,
                   uint8_t *head)
{
    const struct cl_trainable *layer = session->config.model->trainable;
    return cl_slots_read(&saver->slots, slot, 0, head, CL_SAVER_HEAD_BYTES) == 0 &&
           memcmp(head, session->config.model->id, 32) == 0 && head[40] <= layer->optimizer_max &&
           saver->slots.slots[slot].body_bytes ==
               CL_SAVER_HEAD_BYTES + cl_train_span_bytes(layer, optimizer_of(head));
}

// Reads the layer's memory, and looks whether it is what was checked.
static int32_t load_spans(const struct cl_saver *saver, struct cl_session *session, uint8_t slot,
                          const uint8_t *head)
{
    struct cl_train_span spans[CL_TRAIN_SPANS];
    uint32_t offset = CL_SAVER_HEAD_BYTES;
    uint32_t crc = cl_crc32(0, head, offset);
    cl_train_spans(&session->train, spans);
    for (uint32_t i = 0; i < CL_TRAIN_SPANS; i++) {
        const struct cl_train_span *span = &spans[i];
        if (cl_slots_read(&saver->slots, slot, offset, span->data, span->bytes) < 0) {
            return CL_ERROR_STORAGE;
        }
        crc = cl_crc32(crc, span->data, span->bytes);
        offset += span->bytes;
    }
    return crc == saver->slots.slots[slot].body_crc ? CL_OK : CL_ERROR_STORAGE;
}

// Returns 0, CL_ERROR_VALUE (nothing changed), or CL_ERROR_STORAGE (the converted weights).
static int32_t load(struct cl_saver *saver, struct cl_session *session, uint8_t slot)
{
    uint8_t head[CL_SAVER_HEAD_BYTES];
    if (!is_ours(saver, session, slot, head) || cl_slots_check(&saver->slots, slot) < 0) {
        return CL_ERROR_VALUE;
    }
    const struct cl_train_config train = {optimizer_of(head), cl_get_f32(head + 44),
                                          cl_get_f32(head + 48), cl_get_f32(head + 52)};
    if (cl_session_restart(session, &train) < 0) {
        return CL_ERROR_VALUE;
    }
    if (load_spans(saver, session, slot, head) < 0) {
        const int32_t result = cl_session_start_over(session);
        return result < 0 ? result : CL_ERROR_STORAGE;
    }
    take_head(session, head);
    session->configured = 1;
    saver->in_use = (int8_t)slot;
    return CL_OK;
}

// A record of another model, or one that cannot be read any more, is the next to be overwritten.
static void open(struct cl_saver *saver, struct cl_session *session)
{
    uint8_t head[CL_SAVER_HEAD_BYTES];
    saver->saved.step = CL_STEP_NONE;
    saver->in_use = -1;
    if (cl_slots_open(&saver->slots, saver->storage, CL_SLOTS_TRAIN) < 0) {
        return;
    }
    for (uint8_t slot = 0; slot < 2; slot++) {
        if (!is_ours(saver, session, slot, head)) {
            cl_slots_reject(&saver->slots, slot);
        }
        saver->held[slot] = (struct cl_run_step){cl_get_u32(head + 32), cl_get_u32(head + 36)};
    }
    for (int32_t slot; (slot = cl_slots_newest(&saver->slots)) >= 0;) {
        if (load(saver, session, (uint8_t)slot) == 0) {
            return;
        }
        cl_slots_reject(&saver->slots, (uint8_t)slot);
    }
}

// The slots, newest first.
static uint8_t slot_of_age(const struct cl_saver *saver, uint8_t age)
{
    return (uint8_t)((cl_slots_newest(&saver->slots) == 1) ^ age);
}

static int32_t restore(struct cl_saver *saver, struct cl_session *session,
                       const struct cl_run_step *state)
{
    for (uint8_t age = 0; age < 2; age++) {
        const uint8_t slot = slot_of_age(saver, age);
        const struct cl_run_step *held = &saver->held[slot];
        if (!saver->slots.slots[slot].is_good || held->run != state->run ||
            held->step != state->step) {
            continue;
        }
        const int32_t result = load(saver, session, slot);
        if (result != CL_ERROR_VALUE) {
            return result;
        }
        cl_slots_reject(&saver->slots, slot);
    }
    return CL_ERROR_VALUE;
}

// --- saving ---

// The slot that holds just what the session has, or negative.
static int32_t slot_of(const struct cl_saver *saver, const uint8_t *now)
{
    uint8_t head[CL_SAVER_HEAD_BYTES];
    for (uint8_t slot = 0; slot < 2; slot++) {
        if (cl_slots_read(&saver->slots, slot, 0, head, sizeof head) == 0 &&
            memcmp(head, now, sizeof head) == 0) {
            return slot;
        }
    }
    return CL_ERROR_STORAGE;
}

static int32_t begin(struct cl_saver *saver, const struct cl_session *session)
{
    struct body body;
    const uint32_t bytes = lay_out(&session->train, &body);
    put_head(session, body.head);
    const int32_t held = slot_of(saver, body.head);
    if (held >= 0) {
        saver->in_use = (int8_t)held;
        saver->phase = PHASE_DONE;
        saver->saved.bytes = saver->saved.step == session->train.step ? saver->saved.bytes : 0;
        return CL_OK;
    }
    saver->phase = PHASE_ERASE;
    saver->saved.bytes = CL_SLOTS_HEADER_BYTES + bytes;
    return cl_slots_begin(&saver->slots, saver->in_use, bytes);
}

// Writes the next piece, or the header behind the last one. Returns 1 when all is saved.
static int32_t write(struct cl_saver *saver, struct cl_session *session)
{
    struct cl_slots *slots = &saver->slots;
    struct body body;
    uint8_t piece[PIECE_BYTES];
    const uint32_t left = lay_out(&session->train, &body) - slots->written;
    const uint32_t count = left < PIECE_BYTES ? left : PIECE_BYTES;
    if (count > 0) {
        put_head(session, body.head);
        copy_out(&body, slots->written, piece, count);
        return cl_slots_write(slots, piece, count);
    }
    const int32_t slot = cl_slots_commit(slots);
    if (slot < 0) {
        return slot;
    }
    saver->held[slot] = (struct cl_run_step){session->run, session->train.step};
    saver->in_use = (int8_t)slot;
    session->counters[CL_COUNTER_SAVES]++;
    session->counters[CL_COUNTER_STORAGE_BYTES] += saver->saved.bytes;
    return 1;
}

// Erases a block or writes a piece. Returns 1 when all is saved, 0 when there is more to do, or the
// storage's error.
static int32_t advance(struct cl_saver *saver, struct cl_session *session)
{
    if (saver->phase == PHASE_DONE) {
        return 1;
    }
    if (saver->phase == PHASE_WRITE) {
        return write(saver, session);
    }
    const int32_t result = cl_slots_erase(&saver->slots);
    saver->phase = result > 0 ? PHASE_WRITE : PHASE_ERASE;
    return result < 0 ? result : 0;
}

// --- what the session calls ---

static int32_t take_save(struct cl_saver *saver, struct cl_session *session, uint32_t step)
{
    if (session->train.samples_in_step > 0) {
        return CL_ERROR_STATE;
    }
    if (step != session->train.step) {
        return CL_ERROR_STEP;
    }
    session->counters[CL_COUNTER_SAVE_TICKS] = 0;
    return begin(saver, session);
}

static int32_t take(struct cl_saver *saver, struct cl_session *session,
                    const struct cl_message *message, struct cl_link_token *reply)
{
    if (message->kind == CL_SAVE) {
        return take_save(saver, session, message->as.save.step);
    }
    const int32_t result = restore(saver, session, &message->as.restore);
    *reply = cl_session_token(CL_RESTORED, 0, 0, 0);
    return result < 0 ? result : 1;
}

static int32_t save(struct cl_saver *saver, struct cl_session *session, struct cl_link_token *reply)
{
    const int32_t result = advance(saver, session);
    if (result == 0) {
        return 0;
    }
    if (result < 0) {
        cl_session_refuse(session, CL_SAVE, CL_ERROR_STORAGE, (uint32_t)result, reply);
    } else {
        saver->saved.step = session->train.step;
        saver->saved.saves = saver->slots.sequence;
        *reply = cl_session_token(CL_SAVED, 0, 0, 0);
    }
    return cl_session_event(session, CL_EVENT_SAVED) < 0 ? 0 : 1;
}

static void describe(const struct cl_saver *saver, const struct cl_session *session,
                     struct cl_welcome *welcome)
{
    const struct cl_trainable *layer = session->config.model->trainable;
    const uint32_t bytes = CL_SLOTS_HEADER_BYTES + CL_SAVER_HEAD_BYTES +
                           cl_train_span_bytes(layer, layer->optimizer_max);
    if (bytes <= saver->slots.slot_bytes) {
        welcome->flags = (uint8_t)(welcome->flags | 1u << 3);
    }
    welcome->saves = saver->slots.sequence;
    uint8_t count = 0;
    for (uint8_t age = 0; age < 2; age++) {
        const uint8_t slot = slot_of_age(saver, age);
        if (saver->slots.slots[slot].is_good) {
            welcome->saved[count++] = saver->held[slot];
        }
    }
}

static int32_t encode(const struct cl_saver *saver, const struct cl_session *session, uint8_t kind,
                      uint8_t *payload)
{
    if (kind == CL_SAVED) {
        return cl_saved_encode(&saver->saved, payload);
    }
    const struct cl_run_step state = {session->run, session->train.step};
    return cl_restored_encode(&state, cl_session_weights_crc(session), payload);
}

void cl_saver_init(struct cl_saver *saver, const struct cl_storage *storage)
{
    static const struct cl_saver_calls calls = {open, describe, take, save, encode};
    memset(saver, 0, sizeof *saver);
    saver->calls = &calls;
    saver->storage = storage;
}
