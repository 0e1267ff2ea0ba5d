// The pending sample: its smashed data, from the head's ops to the messages that carry it.
//
// Where the head makes rows, one row at a time is in the arena; what is known of all of them is
// worked out when the sample is captured.
#include "bytes.h"
#include "cutlayer/sensor.h"
#include "session_state.h"

#define NO_ROW UINT32_MAX

// Whether the present cut's smashed data is made row by row.
static int makes_rows(const struct cl_session *session)
{
    const struct cl_head *head = &session->config.model->head;
    return head->rows && session->cut + 1 == head->cut_count;
}

// Output rows [first, first + count) of the head's last op; one where it is not trainable.
static int32_t run_last(struct cl_session *session, uint16_t first, uint16_t count)
{
    const struct cl_head *head = &session->config.model->head;
    const struct cl_op *op = &head->ops[head->op_count - 1];
    int8_t *arena = session->config.arena;
    if (cl_session_is_trainable(session)) {
        return cl_train_forward(&session->train, arena + op->input, arena + op->output,
                                arena + op->scratch, first, count);
    }
    cl_head_row(head, arena, first);
    return 0;
}

uint32_t cl_session_smashed(struct cl_session *session, uint32_t first, const int8_t **y)
{
    const struct cl_cut *cut = &session->config.model->head.cuts[session->cut];
    const uint32_t row =
        makes_rows(session) ? cl_shape_row(cut->shape) : cl_shape_count(cut->shape);
    if (makes_rows(session) && session->row_held != first / row) {
        session->row_held = first / row;
        int32_t result = run_last(session, (uint16_t)session->row_held, 1);
        (void)result; // fails only for rows that are not there
    }
    *y = session->config.arena + cut->offset + first % row;
    return row - first % row;
}

// What is said of all the smashed data: its CRC, how much is saturated, where it has no gradient.
static void survey(struct cl_session *session)
{
    const struct cl_cut cut = cl_session_cut(session);
    const struct cl_clamp clamp =
        cl_clamp_of(session->activation_codec, cut.activation_min, cut.activation_max);
    const uint32_t total = cl_shape_count(cut.shape);
    uint32_t count;
    session->row_held = NO_ROW;
    session->crc = 0;
    session->saturated = 0;
    for (uint32_t first = 0; first < total; first += count) {
        const int8_t *y;
        count = cl_session_smashed(session, first, &y);
        session->crc = cl_crc32(session->crc, y, count);
        if (cl_session_runs_trainable(session)) {
            session->saturated += cl_train_saturated(&session->train, y, count);
            cl_mask_put(session->train.mask, &clamp, first, y, count);
        }
    }
}

uint16_t cl_session_op_count(const struct cl_session *session)
{
    return session->config.model->head.cuts[session->cut].op_count;
}

int32_t cl_session_run(struct cl_session *session, uint16_t op)
{
    const struct cl_head *head = &session->config.model->head;
    const uint16_t end = (uint16_t)(op + 1);
    int32_t result = 0;
    if (cl_session_runs_trainable(session) && end == head->op_count && !head->rows) {
        result = run_last(session, 0, session->train.params.output.height);
    } else if (end <= cl_head_whole_ops(head)) {
        result = cl_head_run(head, session->config.arena, op, end);
    }
    if (result >= 0 && end == cl_session_op_count(session)) {
        survey(session);
    }
    return result < 0 ? result : 0;
}

int32_t cl_session_captured(struct cl_session *session, int32_t label)
{
    session->label = (int16_t)(label < 0 || label > INT16_MAX ? CL_LABEL_NONE : label);
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

// How many elements from `first` on one message of `capacity` bytes carries.
static uint32_t fit(struct cl_session *session, uint32_t first, uint32_t capacity)
{
    const struct cl_cut cut = cl_session_cut(session);
    const uint32_t left = cl_shape_count(cut.shape) - first;
    struct cl_encoder counter;
    cl_codec_begin(&counter, session->activation_codec, cut.zero_point, 0, 0, capacity);
    while (counter.taken < left) {
        // Without zero suppression the values do not matter, and no row is made for them.
        const int8_t *y = 0;
        const uint32_t count = session->activation_codec & CL_CODEC_SUPPRESSED
                                   ? cl_session_smashed(session, first + counter.taken, &y)
                                   : left;
        if (cl_codec_put(&counter, y, count) < count) {
            break;
        }
    }
    return counter.taken;
}

int32_t cl_session_next(struct cl_session *session, uint32_t capacity, struct cl_link_token *token)
{
    const uint32_t total = cl_shape_count(cl_session_cut(session).shape);
    if (!session->head_queued) {
        session->head_queued = 1;
        *token = cl_session_token(CL_ACTIVATION, 0, 0, 0);
        return 1;
    }
    if (session->next_queued == total) {
        return 0;
    }
    // Fits u16: even a bit an element, 4096 bytes hold fewer than 2^15.
    uint32_t count = fit(session, session->next_queued, capacity - CL_PIECE_BYTES);
    *token = cl_session_token(CL_PIECE, 0, session->next_queued, count);
    session->next_queued += count;
    return 1;
}

int32_t cl_session_sent(struct cl_session *session)
{
    return cl_session_event(session, session->sample.mode == CL_MODE_TRAIN ? CL_EVENT_AWAITED
                                                                           : CL_EVENT_SENT);
}
