// A sample's gradient: from its messages to the accumulator, row by row.
#include "session_state.h"

// (norm / scale)^2: what the sum of g^2 may come to. A sum beyond 32 bits is never taken.
static uint32_t squares_max(float scale)
{
    float ratio = CL_GRADIENT_NORM_MAX / scale;
    float most = ratio * ratio;
    return most < 4294967296.0f ? (uint32_t)most : UINT32_MAX;
}

int32_t cl_session_on_gradient(struct cl_session *session, const struct cl_message *message,
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
        const int16_t g = session->train.row[i];
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
static int32_t add_to_row(struct cl_session *session, uint32_t count, const uint8_t *data,
                          uint32_t *code)
{
    const struct cl_head *head = &session->config.model->head;
    const int8_t *input = session->config.arena + head->ops[head->op_count - 1].input;
    struct cl_train *train = &session->train;
    const uint32_t channels = train->layer->channel_count, first = session->gradient_next;
    int32_t result = cl_codec_gradient_decode(session->gradient_codec, train->mask, first, count,
                                              data, code, train->row + first % channels);
    if (result < 0) {
        return result;
    }
    session->gradient_next += count;
    if (session->gradient_next % channels != 0) {
        return 0;
    }
    result = charge_row(session, channels);
    return result < 0 ? result : cl_train_accumulate(train, input, first / channels, train->row);
}

int32_t cl_session_on_piece(struct cl_session *session, const struct cl_message *message,
                            struct cl_link_token *reply)
{
    const struct cl_piece *piece = &message->as.piece;
    const uint32_t total = cl_shape_count(cl_session_deepest_cut(session)->shape);
    const uint32_t channels = session->train.layer->channel_count;
    uint32_t code = 0;
    (void)reply;
    if (piece->first != session->gradient_next || piece->count > total - piece->first) {
        return CL_ERROR_VALUE;
    }
    if (piece->data_bytes != cl_codec_gradient_bytes(session->gradient_codec, session->train.mask,
                                                     piece->first, piece->count)) {
        return CL_ERROR_LENGTH;
    }
    for (uint32_t left = piece->count; left > 0;) {
        uint32_t room = channels - session->gradient_next % channels;
        uint32_t count = left < room ? left : room;
        int32_t result = add_to_row(session, count, piece->data, &code);
        if (result < 0) {
            return result;
        }
        left -= count;
    }
    if (session->gradient_next < total) {
        return 0;
    }
    int32_t result = cl_train_end_sample(&session->train, session->saturated);
    session->counters[CL_COUNTER_SAMPLES_ADDED]++;
    return result < 0 ? result : cl_session_event(session, CL_EVENT_ADDED);
}
