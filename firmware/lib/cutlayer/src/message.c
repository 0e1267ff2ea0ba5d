#include "cutlayer/message.h"

#include "bytes.h"
#include "cutlayer/codec.h"
#include "cutlayer/link.h"
#include "float_bits.h"

static int is_fraction(float value)
{
    return value >= 0.0f && value < 1.0f;
}

static int32_t decode_hello(struct cl_message *message, const uint8_t *payload)
{
    (void)message;
    return payload[1] == CL_WIRE_VERSION ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_configure(struct cl_message *message, const uint8_t *payload)
{
    struct cl_configure *configure = &message->as.configure;
    configure->restart = payload[1];
    configure->cut = cl_get_u16(payload + 2);
    configure->activation_codec = payload[4];
    configure->gradient_codec = payload[5];
    configure->optimizer = payload[6];
    configure->momentum = cl_get_f32(payload + 8);
    configure->beta2 = cl_get_f32(payload + 12);
    configure->epsilon = cl_get_f32(payload + 16);
    configure->run = cl_get_u32(payload + 20);
    int epsilon_is_valid = cl_is_positive(configure->epsilon) ||
                           (configure->optimizer != 1 && configure->epsilon == 0.0f);
    int is_valid = configure->restart <= 1 && cl_codec_is_activation(configure->activation_codec) &&
                   cl_codec_is_gradient(configure->gradient_codec) && configure->optimizer <= 1 &&
                   is_fraction(configure->momentum) && is_fraction(configure->beta2) &&
                   epsilon_is_valid;
    return is_valid ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_sample(struct cl_message *message, const uint8_t *payload)
{
    struct cl_sample *sample = &message->as.sample;
    sample->mode = payload[1];
    sample->sample = cl_get_u32(payload + 4);
    sample->recording = cl_get_u32(payload + 8);
    return sample->mode <= CL_MODE_TRAIN ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_gradient(struct cl_message *message, const uint8_t *payload)
{
    struct cl_gradient *gradient = &message->as.gradient;
    gradient->codec = payload[1];
    gradient->sample = cl_get_u32(payload + 4);
    gradient->count = cl_get_u32(payload + 8);
    gradient->scale = cl_get_f32(payload + 12);
    int is_valid = cl_codec_is_gradient(gradient->codec) && gradient->count > 0 &&
                   gradient->count <= CL_SMASHED_COUNT_MAX && cl_is_positive(gradient->scale);
    return is_valid ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_piece(struct cl_message *message, const uint8_t *payload)
{
    message->as.piece.count = cl_get_u16(payload + 2);
    message->as.piece.first = cl_get_u32(payload + 4);
    message->as.piece.data = payload + CL_PIECE_BYTES;
    return message->as.piece.count > 0 ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_apply(struct cl_message *message, const uint8_t *payload)
{
    struct cl_apply *apply = &message->as.apply;
    apply->samples = cl_get_u16(payload + 2);
    apply->step = cl_get_u32(payload + 4);
    apply->learning_rate = cl_get_f32(payload + 8);
    return apply->samples > 0 && cl_is_positive(apply->learning_rate) ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_rescale(struct cl_message *message, const uint8_t *payload)
{
    message->as.rescale.zero_point = (int8_t)payload[1];
    message->as.rescale.scale = cl_get_f32(payload + 4);
    return cl_is_positive(message->as.rescale.scale) ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_read(struct cl_message *message, const uint8_t *payload)
{
    struct cl_read *read = &message->as.read;
    read->section = payload[1];
    read->count = cl_get_u16(payload + 2);
    read->offset = cl_get_u32(payload + 4);
    return read->section < CL_SECTION_COUNT && read->count > 0 ? 0 : CL_ERROR_VALUE;
}

static int32_t decode_save(struct cl_message *message, const uint8_t *payload)
{
    message->as.save.step = cl_get_u32(payload + 4);
    return 0;
}

static int32_t decode_restore(struct cl_message *message, const uint8_t *payload)
{
    message->as.restore.run = cl_get_u32(payload + 4);
    message->as.restore.step = cl_get_u32(payload + 8);
    return 0;
}

static int32_t decode_provision(struct cl_message *message, const uint8_t *payload)
{
    message->as.provision.device_id = payload + 4;
    message->as.provision.key = payload + 4 + CL_DEVICE_ID_BYTES;
    return 0;
}

static const struct layout {
    uint8_t kind;
    uint8_t bytes;
    int32_t (*decode)(struct cl_message *message, const uint8_t *payload);
} layouts[] = {
    {CL_HELLO, 4, decode_hello},
    {CL_CONFIGURE, 24, decode_configure},
    {CL_SAMPLE, 12, decode_sample},
    {CL_GRADIENT, 16, decode_gradient},
    {CL_APPLY, 12, decode_apply},
    {CL_CLEAR, 4, 0},
    {CL_RESCALE, 12, decode_rescale},
    {CL_READ, 12, decode_read},
    {CL_STATS, 4, 0},
    {CL_SAVE, 8, decode_save},
    {CL_RESTORE, 12, decode_restore},
    {CL_PROVISION, 44, decode_provision},
    {CL_FORGET, 4, 0},
    {CL_PIECE, CL_PIECE_BYTES, decode_piece},
    {CL_ERROR, 8, 0},
};

int32_t cl_message_decode(struct cl_message *message, const uint8_t *payload, uint32_t bytes)
{
    memset(message, 0, sizeof *message);
    if (bytes == 0) {
        return CL_ERROR_LENGTH;
    }
    message->kind = payload[0];
    for (uint32_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        const struct layout *layout = &layouts[i];
        if (layout->kind != payload[0]) {
            continue;
        }
        if (bytes < layout->bytes || (bytes > layout->bytes && layout->kind != CL_PIECE)) {
            return CL_ERROR_LENGTH;
        }
        if (layout->kind == CL_PIECE) {
            message->as.piece.data_bytes = bytes - CL_PIECE_BYTES;
        }
        return layout->decode ? layout->decode(message, payload) : 0;
    }
    return CL_ERROR_KIND;
}

static void begin(uint8_t *payload, uint8_t kind, uint32_t bytes)
{
    memset(payload, 0, (size_t)bytes);
    payload[0] = kind;
}

int32_t cl_welcome_encode(const struct cl_welcome *welcome, uint8_t *payload)
{
    begin(payload, CL_WELCOME, CL_WELCOME_BYTES);
    payload[1] = CL_WIRE_VERSION;
    memcpy(payload + 2, welcome->firmware_version, 3);
    payload[5] = welcome->flags;
    payload[6] = welcome->optimizers;
    payload[7] = welcome->codecs;
    memcpy(payload + 8, welcome->model_id, 32);
    for (uint32_t i = 0; i < 16 && welcome->board && welcome->board[i] != 0; i++) {
        payload[40 + i] = (uint8_t)welcome->board[i];
    }
    cl_put_u32(payload + 56, welcome->last_step);
    cl_put_u32(payload + 60, welcome->recordings);
    cl_put_u32(payload + 64, welcome->smashed_count);
    cl_put_u32(payload + 68, welcome->weight_count);
    cl_put_u32(payload + 72, welcome->channel_count);
    cl_put_f32(payload + 76, welcome->output_scale);
    payload[80] = (uint8_t)welcome->output_zero_point;
    cl_put_u32(payload + 84, welcome->arena_bytes);
    cl_put_u32(payload + 88, welcome->train_bytes);
    cl_put_u16(payload + 92, welcome->cut_count);
    cl_put_u32(payload + 96, welcome->run);
    for (uint32_t i = 0; i < 2; i++) {
        cl_put_u32(payload + 100 + 8 * i, welcome->saved[i].run);
        cl_put_u32(payload + 104 + 8 * i, welcome->saved[i].step);
    }
    cl_put_u32(payload + 116, welcome->saves);
    memcpy(payload + 120, welcome->device_id, CL_DEVICE_ID_BYTES);
    return (int32_t)CL_WELCOME_BYTES;
}

int32_t cl_activation_encode(const struct cl_activation_head *activation, uint8_t *payload)
{
    begin(payload, CL_ACTIVATION, CL_ACTIVATION_BYTES);
    payload[1] = activation->codec;
    cl_put_u16(payload + 2, (uint16_t)activation->label);
    cl_put_u32(payload + 4, activation->sample);
    cl_put_u32(payload + 8, activation->count);
    cl_put_f32(payload + 12, activation->scale);
    payload[16] = (uint8_t)activation->zero_point;
    payload[17] = (uint8_t)activation->activation_min;
    payload[18] = (uint8_t)activation->activation_max;
    cl_put_u32(payload + 20, activation->saturated);
    cl_put_u32(payload + 24, activation->crc);
    return (int32_t)CL_ACTIVATION_BYTES;
}

int32_t cl_applied_encode(const struct cl_applied *applied, uint8_t *payload)
{
    begin(payload, CL_APPLIED, 16);
    cl_put_u32(payload + 4, applied->step);
    cl_put_u32(payload + 8, applied->weights_crc);
    cl_put_u32(payload + 12, applied->saturated);
    return 16;
}

int32_t cl_rescaled_encode(float scale, int8_t zero_point, uint32_t last_step, uint8_t *payload)
{
    begin(payload, CL_RESCALED, 12);
    payload[1] = (uint8_t)zero_point;
    cl_put_f32(payload + 4, scale);
    cl_put_u32(payload + 8, last_step);
    return 12;
}

int32_t cl_saved_encode(const struct cl_saved *saved, uint8_t *payload)
{
    begin(payload, CL_SAVED, 16);
    cl_put_u32(payload + 4, saved->step);
    cl_put_u32(payload + 8, saved->saves);
    cl_put_u32(payload + 12, saved->bytes);
    return 16;
}

int32_t cl_restored_encode(const struct cl_run_step *restored, uint32_t weights_crc,
                           uint8_t *payload)
{
    begin(payload, CL_RESTORED, 16);
    cl_put_u32(payload + 4, restored->run);
    cl_put_u32(payload + 8, restored->step);
    cl_put_u32(payload + 12, weights_crc);
    return 16;
}

int32_t cl_provisioned_encode(const uint8_t *device_id, uint8_t *payload)
{
    begin(payload, CL_PROVISIONED, 12);
    memcpy(payload + 4, device_id, CL_DEVICE_ID_BYTES);
    return 12;
}

int32_t cl_forgotten_encode(uint8_t *payload)
{
    begin(payload, CL_FORGOTTEN, 4);
    return 4;
}

int32_t cl_error_encode(uint8_t about, int16_t code, uint32_t detail, uint8_t *payload)
{
    begin(payload, CL_ERROR, 8);
    payload[1] = about;
    cl_put_u16(payload + 2, (uint16_t)code);
    cl_put_u32(payload + 4, detail);
    return 8;
}

int32_t cl_step_encode(enum cl_message_kind kind, uint32_t last_step, uint8_t *payload)
{
    begin(payload, (uint8_t)kind, 8);
    cl_put_u32(payload + 4, last_step);
    return 8;
}

int32_t cl_piece_encode(uint16_t count, uint32_t first, uint8_t *payload)
{
    begin(payload, CL_PIECE, CL_PIECE_BYTES);
    cl_put_u16(payload + 2, count);
    cl_put_u32(payload + 4, first);
    return (int32_t)CL_PIECE_BYTES;
}

int32_t cl_data_read_encode(const struct cl_read *read, uint32_t total, uint8_t *payload)
{
    begin(payload, CL_DATA_READ, CL_DATA_READ_BYTES);
    payload[1] = read->section;
    cl_put_u16(payload + 2, read->count);
    cl_put_u32(payload + 4, read->offset);
    cl_put_u32(payload + 8, total);
    return (int32_t)CL_DATA_READ_BYTES;
}

int32_t cl_stats_are_encode(const uint32_t *counters, uint16_t count, uint8_t *payload)
{
    begin(payload, CL_STATS_ARE, CL_STATS_ARE_BYTES);
    cl_put_u16(payload + 2, count);
    for (uint16_t i = 0; i < count; i++) {
        cl_put_u32(payload + CL_STATS_ARE_BYTES + 4u * i, counters[i]);
    }
    return (int32_t)(CL_STATS_ARE_BYTES + 4u * count);
}
