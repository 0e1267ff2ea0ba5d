// Messages of the session, to and from bytes (SPEC.md, section 3.1). What a host sends is decoded,
// what a board sends is encoded. Decoding checks all that needs no state: kind, length, ranges,
// finite floats.
#ifndef CUTLAYER_MESSAGE_H
#define CUTLAYER_MESSAGE_H

#include "cutlayer/error.h"

enum cl_message_kind {
    CL_HELLO = 0x01,
    CL_CONFIGURE = 0x02,
    CL_SAMPLE = 0x03,
    CL_GRADIENT = 0x04,
    CL_APPLY = 0x05,
    CL_CLEAR = 0x06,
    CL_RESCALE = 0x07,
    CL_READ = 0x08,
    CL_STATS = 0x09,
    CL_SAVE = 0x0A,
    CL_RESTORE = 0x0B,
    CL_PROVISION = 0x0C,
    CL_FORGET = 0x0D,
    CL_PIECE = 0x10,
    CL_ERROR = 0x7F,
    CL_WELCOME = 0x81,
    CL_CONFIGURED = 0x82,
    CL_ACTIVATION = 0x83,
    CL_APPLIED = 0x85,
    CL_CLEARED = 0x86,
    CL_RESCALED = 0x87,
    CL_DATA_READ = 0x88,
    CL_STATS_ARE = 0x89,
    CL_SAVED = 0x8A,
    CL_RESTORED = 0x8B,
    CL_PROVISIONED = 0x8C,
    CL_FORGOTTEN = 0x8D,
};

// Fixed parts of the messages that have data behind them.
#define CL_PIECE_BYTES 8u
#define CL_DATA_READ_BYTES 12u
#define CL_STATS_ARE_BYTES 4u
#define CL_WELCOME_BYTES 128u
#define CL_ACTIVATION_BYTES 28u

#define CL_DEVICE_ID_BYTES 8u
#define CL_KEY_BYTES 32u

// Elements of smashed data, at most.
#define CL_SMASHED_COUNT_MAX ((uint32_t)1 << 20)

enum cl_section {
    CL_SECTION_WEIGHTS = 0,
    CL_SECTION_BIAS = 1,
    CL_SECTION_WEIGHT_SCALES = 2,
    CL_SECTION_MASTER = 3,
    CL_SECTION_MOMENT1 = 4,
    CL_SECTION_MOMENT2 = 5,
    CL_SECTION_COUNT = 6,
};

enum cl_mode { CL_MODE_INFER = 0, CL_MODE_TRAIN = 1 };

struct cl_configure {
    uint8_t restart;
    uint16_t cut;
    uint8_t activation_codec;
    uint8_t gradient_codec;
    uint8_t optimizer;
    float momentum;
    float beta2;
    float epsilon;
    uint32_t run; // lineage of the steps from here on
};

struct cl_sample {
    uint8_t mode;
    uint32_t sample;
    uint32_t recording;
};

struct cl_gradient {
    uint8_t codec;
    uint32_t sample;
    uint32_t count;
    float scale;
};

struct cl_piece {
    uint16_t count;
    uint32_t first;
    const uint8_t *data;
    uint32_t data_bytes;
};

struct cl_apply {
    uint16_t samples;
    uint32_t step;
    float learning_rate;
};

struct cl_rescale {
    int8_t zero_point;
    float scale;
};

struct cl_read {
    uint8_t section;
    uint16_t count;
    uint32_t offset;
};

struct cl_save {
    uint32_t step;
};

// A state of the trainable layer: the lineage that CONFIGURE named, and the steps applied.
struct cl_run_step {
    uint32_t run;
    uint32_t step;
};

// The step of a slot that holds nothing.
#define CL_STEP_NONE 0xFFFFFFFFu

struct cl_provision {
    const uint8_t *device_id; // CL_DEVICE_ID_BYTES
    const uint8_t *key;       // CL_KEY_BYTES
};

// A message from the host. Data of a PIECE, and a key, stay in the payload that it was decoded
// from.
struct cl_message {
    uint8_t kind;
    union {
        struct cl_configure configure;
        struct cl_sample sample;
        struct cl_gradient gradient;
        struct cl_piece piece;
        struct cl_apply apply;
        struct cl_rescale rescale;
        struct cl_read read;
        struct cl_save save;
        struct cl_run_step restore;
        struct cl_provision provision;
    } as;
};

// Returns 0, CL_ERROR_KIND, CL_ERROR_LENGTH or CL_ERROR_VALUE; `message->kind` is set whenever
// there is a byte.
int32_t cl_message_decode(struct cl_message *message, const uint8_t *payload,
                          uint32_t bytes) CL_CHECK_RESULT;

struct cl_welcome {
    uint8_t firmware_version[3];
    uint8_t flags;
    uint8_t optimizers;
    uint8_t codecs;
    const uint8_t *model_id; // 32 bytes
    const char *board;       // at most 16 characters are sent
    uint32_t last_step;
    uint32_t recordings;
    uint32_t smashed_count;
    uint32_t weight_count;
    uint32_t channel_count;
    float output_scale;
    int8_t output_zero_point;
    uint32_t arena_bytes;
    uint32_t train_bytes;
    uint16_t cut_count;
    uint32_t run;
    struct cl_run_step saved[2]; // newest first
    uint32_t saves;
    uint8_t device_id[CL_DEVICE_ID_BYTES];
};

struct cl_activation_head {
    uint8_t codec;
    int16_t label;
    uint32_t sample;
    uint32_t count;
    float scale;
    int8_t zero_point;
    int8_t activation_min;
    int8_t activation_max;
    uint32_t saturated;
    uint32_t crc;
};

struct cl_applied {
    uint32_t step;
    uint32_t weights_crc;
    uint32_t saturated;
};

struct cl_saved {
    uint32_t step;
    uint32_t saves;
    uint32_t bytes;
};

// Encoders write to `payload`, which has room (CL_LINK_PAYLOAD_MIN holds every one of them), and
// return the bytes.
int32_t cl_welcome_encode(const struct cl_welcome *welcome, uint8_t *payload);
int32_t cl_activation_encode(const struct cl_activation_head *activation, uint8_t *payload);
int32_t cl_applied_encode(const struct cl_applied *applied, uint8_t *payload);
int32_t cl_rescaled_encode(float scale, int8_t zero_point, uint32_t last_step, uint8_t *payload);
int32_t cl_saved_encode(const struct cl_saved *saved, uint8_t *payload);
int32_t cl_restored_encode(const struct cl_run_step *restored, uint32_t weights_crc,
                           uint8_t *payload);
int32_t cl_provisioned_encode(const uint8_t *device_id, uint8_t *payload);
int32_t cl_forgotten_encode(uint8_t *payload);
int32_t cl_error_encode(uint8_t about, int16_t code, uint32_t detail, uint8_t *payload);

// CONFIGURED or CLEARED.
int32_t cl_step_encode(enum cl_message_kind kind, uint32_t last_step, uint8_t *payload);

// The fixed parts; the data follows at once.
int32_t cl_piece_encode(uint16_t count, uint32_t first, uint8_t *payload);
int32_t cl_data_read_encode(const struct cl_read *read, uint32_t total, uint8_t *payload);
int32_t cl_stats_are_encode(const uint32_t *counters, uint16_t count, uint8_t *payload);

#endif
