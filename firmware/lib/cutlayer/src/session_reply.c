#include "bytes.h"
#include "session_state.h"

struct cl_cut cl_session_cut(const struct cl_session *session)
{
    struct cl_cut cut = session->config.model->head.cuts[session->cut];
    if (cl_session_runs_trainable(session)) {
        cut.scale = session->train.output_scale;
        cut.zero_point = session->train.params.output_zero_point;
        cut.activation_min = session->train.params.activation_min;
        cut.activation_max = session->train.params.activation_max;
    }
    return cut;
}

static int32_t encode_welcome(const struct cl_session *session, uint8_t *payload)
{
    const struct cl_model *model = session->config.model;
    const struct cl_trainable *layer = model->trainable;
    const struct cl_cut *cut = cl_session_deepest_cut(session);
    struct cl_welcome welcome = {
        .firmware_version = {CL_VERSION_MAJOR, CL_VERSION_MINOR, CL_VERSION_PATCH},
        .flags = (uint8_t)((layer != 0) | session->config.is_live << 1 | session->configured << 2),
        .codecs = 0x17,
        .model_id = model->id,
        .board = session->config.board,
        .last_step = cl_session_last_step(session),
        .recordings = session->config.recording_count,
        .smashed_count = cl_shape_count(cut->shape),
        .output_scale = cut->scale,
        .output_zero_point = cut->zero_point,
        .arena_bytes = model->head.arena_bytes,
        .cut_count = model->head.cut_count,
        .run = session->run,
        .saved = {{0, CL_STEP_NONE}, {0, CL_STEP_NONE}},
    };
    if (layer) {
        welcome.optimizers = layer->optimizer_max == CL_OPTIMIZER_ADAM ? 3 : 1;
        welcome.weight_count = layer->weight_count;
        welcome.channel_count = layer->channel_count;
        welcome.output_scale = session->train.output_scale;
        welcome.output_zero_point = session->train.params.output_zero_point;
        welcome.train_bytes = session->config.train_bytes;
    }
    if (session->config.saver) {
        session->config.saver->calls->describe(session->config.saver, session, &welcome);
    }
    if (session->config.keys) {
        memcpy(welcome.device_id, session->config.keys->device_id, CL_DEVICE_ID_BYTES);
    }
    return cl_welcome_encode(&welcome, payload);
}

static int32_t encode_activation(const struct cl_session *session, uint8_t *payload)
{
    const struct cl_cut cut = cl_session_cut(session);
    struct cl_activation_head activation = {
        .codec = session->activation_codec,
        .label = session->label,
        .sample = session->sample.sample,
        .count = cl_shape_count(cut.shape),
        .scale = cut.scale,
        .zero_point = cut.zero_point,
        .activation_min = cut.activation_min,
        .activation_max = cut.activation_max,
        .saturated = session->saturated,
        .crc = session->crc,
    };
    return cl_activation_encode(&activation, payload);
}

static int32_t encode_piece(struct cl_session *session, const struct cl_link_token *token,
                            uint8_t *payload, uint32_t capacity)
{
    const struct cl_cut cut = cl_session_cut(session);
    struct cl_encoder encoder;
    cl_codec_begin(&encoder, session->activation_codec, cut.zero_point, token->count,
                   payload + CL_PIECE_BYTES, capacity - CL_PIECE_BYTES);
    while (encoder.taken < token->count) {
        const int8_t *y;
        const uint32_t left = token->count - encoder.taken;
        const uint32_t there = cl_session_smashed(session, token->first + encoder.taken, &y);
        const uint32_t count = there < left ? there : left;
        if (cl_codec_put(&encoder, y, count) < count) {
            return CL_ERROR_MEMORY;
        }
    }
    return (int32_t)cl_codec_bytes(&encoder) +
           cl_piece_encode((uint16_t)token->count, token->first, payload);
}

uint32_t cl_session_section(const struct cl_session *session, uint8_t section, const void **data)
{
    const struct cl_train *train = &session->train;
    if (!cl_session_is_trainable(session)) {
        return 0;
    }
    uint32_t weights = session->config.model->trainable->weight_count;
    uint32_t channels = session->config.model->trainable->channel_count;
    const void *const sections[CL_SECTION_COUNT] = {train->weights,      train->bias,
                                                    train->weight_scale, train->master,
                                                    train->moment1,      train->moment2};
    const int is_narrow = section >= CL_SECTION_MASTER && !train->master;
    *data = is_narrow ? train->bfloat16[section - CL_SECTION_MASTER] : sections[section];
    if (*data == 0) {
        return 0;
    }
    if (section == CL_SECTION_WEIGHTS) {
        return weights;
    }
    return 4 * (section < CL_SECTION_MASTER ? channels : weights + channels);
}

static int32_t encode_read(const struct cl_session *session, const struct cl_link_token *token,
                           uint8_t *payload, uint32_t capacity)
{
    const void *data = 0;
    uint8_t section = TOKEN_MORE(token);
    uint32_t total = cl_session_section(session, section, &data);
    uint32_t left = token->first < total ? total - token->first : 0;
    uint32_t room = capacity - CL_DATA_READ_BYTES;
    uint32_t count = token->count < left ? token->count : left;
    count = count < room ? count : room;
    uint8_t word[4];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = token->first + i;
        if (section == CL_SECTION_WEIGHTS) {
            payload[CL_DATA_READ_BYTES + i] = ((const uint8_t *)data)[at];
            continue;
        }
        uint32_t bits;
        if (section >= CL_SECTION_MASTER && !session->train.master) {
            bits = (uint32_t)((const uint16_t *)data)[at / 4u] << 16; // bfloat16
        } else {
            memcpy(&bits, (const uint8_t *)data + (at & ~(uint32_t)3u), sizeof bits);
        }
        cl_put_u32(word, bits);
        payload[CL_DATA_READ_BYTES + i] = word[at & 3u];
    }
    struct cl_read read = {section, (uint16_t)count, token->first};
    return (int32_t)count + cl_data_read_encode(&read, total, payload);
}

uint32_t cl_session_reply_bytes(const struct cl_link_token *token, uint32_t capacity)
{
    uint8_t kind = TOKEN_KIND(token);
    return kind == CL_PIECE || kind == CL_DATA_READ ? capacity : CL_WELCOME_BYTES;
}

int32_t cl_session_encode(struct cl_session *session, const struct cl_link_token *token,
                          uint8_t *payload, uint32_t capacity)
{
    if (capacity < CL_LINK_PAYLOAD_MIN) {
        return CL_ERROR_MEMORY;
    }
    switch (TOKEN_KIND(token)) {
    case CL_WELCOME:
        return encode_welcome(session, payload);
    case CL_CONFIGURED:
    case CL_CLEARED:
        return cl_step_encode((enum cl_message_kind)TOKEN_KIND(token), token->first, payload);
    case CL_ACTIVATION:
        return encode_activation(session, payload);
    case CL_PIECE:
        return encode_piece(session, token, payload, capacity);
    case CL_APPLIED:
        return cl_applied_encode(&session->applied, payload);
    case CL_RESCALED:
        return cl_rescaled_encode(session->train.output_scale,
                                  session->train.params.output_zero_point, token->first, payload);
    case CL_DATA_READ:
        return encode_read(session, token, payload, capacity);
    case CL_SAVED:
    case CL_RESTORED:
        return session->config.saver->calls->encode(session->config.saver, session,
                                                    TOKEN_KIND(token), payload);
    case CL_PROVISIONED:
        return cl_provisioned_encode(session->config.keys->device_id, payload);
    case CL_FORGOTTEN:
        return cl_forgotten_encode(payload);
    case CL_STATS_ARE:
        return cl_stats_are_encode(session->counters, CL_COUNTER_COUNT, payload);
    default:
        return cl_error_encode(TOKEN_MORE(token), (int16_t)(int32_t)token->first, token->count,
                               payload);
    }
}
